// Applications whose instances are wrapped by an APM: Nest hands every instance to the `instanceDecorator` of its
// options.
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, type INestApplication, Inject, Module, UseInterceptors } from '@nestjs/common';
import { ModulesContainer, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';

import {
  ConnectionPoolManager,
  CurrentTenant,
  type ExternalPool,
  fromHeader,
  getPoolToken,
  InjectPool,
  PoolHealthModule,
  PoolManagerModule,
  SkipTenant,
  TenantContext,
  TenantGuardInterceptor,
  TenantMiddleware,
} from '../../lib/index.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

@Controller()
@UseInterceptors(TenantGuardInterceptor)
class Orders {
  constructor(
    @InjectPool('orders') private readonly pool: ExternalPool<FakeConnection>,
    @Inject(TenantContext) private readonly tenants: TenantContext,
  ) {}

  @Get('orders')
  async list(@CurrentTenant() tenant: string): Promise<object> {
    const used = await this.pool.use((_, lease) => lease.tenantId);
    const fixed = await this.pool.forTenant('globex').use((_, lease) => lease.tenantId);
    const inner = await this.tenants.run('initech', () => this.pool.use((_, lease) => lease.tenantId));
    return { tenant, used, fixed, inner, active: this.pool.stats().active };
  }

  @SkipTenant()
  @Get('open')
  open(): object {
    return { tenant: this.tenants.current() ?? null };
  }
}

/** Whether methods of the instance work on `this` only: #private members are bound to the object itself. */
function hasPrivateMembers(instance: object): boolean {
  for (let of: object | null = instance; of !== null; of = Reflect.getPrototypeOf(of)) {
    const { constructor } = of;
    if (typeof constructor === 'function' && /#\w/.test(Function.prototype.toString.call(constructor))) return true;
  }
  return false;
}

const wrapped = new Set<object>();

/**
 * What an APM does to an instance: each method that is read is another function, which calls the method in a span of
 * its own.
 */
function instrument(instance: unknown): unknown {
  // The collections of Nest's own have internal slots, which no proxy has.
  if (typeof instance !== 'object' || instance === null || instance instanceof Map) return instance;
  wrapped.add(instance);
  const raw = hasPrivateMembers(instance);
  return new Proxy(instance, {
    get(target, name, receiver): unknown {
      const value: unknown = Reflect.get(target, name, raw ? target : receiver);
      if (typeof value !== 'function' || name === 'constructor') return value;
      const span = (...args: unknown[]): unknown => Reflect.apply(value, raw ? target : receiver, args);
      // What decorators have said of a handler goes with it.
      for (const key of Reflect.getMetadataKeys(value)) {
        Reflect.defineMetadata(key, Reflect.getMetadata(key, value), span);
      }
      return span;
    },
  });
}

let app: INestApplication | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
  wrapped.clear();
});

async function start(): Promise<{ readonly app: INestApplication; readonly url: string }> {
  @Module({
    imports: [
      PoolManagerModule.forRootAsync({
        pools: ['orders'],
        useFactory: () => ({
          pools: { orders: { type: 'external' as const, driver: new FakeDriver() } },
          tenancy: { resolve: fromHeader('x-tenant-id') },
        }),
      }),
      PoolHealthModule,
    ],
    controllers: [Orders],
    providers: [TenantMiddleware],
  })
  class Application {}

  const logger = new LogBook();
  const instance = { instanceDecorator: instrument };
  app = await NestFactory.create(Application, new ExpressAdapter(), { logger, instrument: instance });
  await app.listen(0, '127.0.0.1');
  return { app, url: await app.getUrl() };
}

describe('An application whose instances are all wrapped', () => {
  it('serves requests, health and shutdown as before', async () => {
    const { url, app: running } = await start();
    const ask = async (path: string, headers: Record<string, string> = {}): Promise<unknown> => {
      const response = await fetch(url + path, { headers });
      return [response.status, await response.json()];
    };
    expect(await ask('/orders', { 'x-tenant-id': 'acme' })).toEqual([
      200,
      { tenant: 'acme', used: 'acme', fixed: 'globex', inner: 'initech', active: 0 },
    ]);
    expect(await ask('/orders')).toMatchObject([400, {}]);
    expect(await ask('/open')).toEqual([200, { tenant: null }]);
    expect(await ask('/health')).toMatchObject([200, { status: 'ok' }]);
    expect(await ask('/health/ready')).toMatchObject([200, {}]);
    const manager = running.get(ConnectionPoolManager);
    expect(manager.listPools()).toMatchObject([{ id: 'orders', status: 'healthy' }]);
    const pool = running.get<ExternalPool<FakeConnection>>(getPoolToken('orders'));
    await running.close();
    expect(pool.status).toBe('closed');
  });

  it('finds no injectable of ours whose methods a proxy could not replace', async () => {
    const { app: running } = await start();
    const ours = [...running.get(ModulesContainer).values()].filter(({ name }) =>
      /^(PoolManager|PoolHealth)/.test(name),
    );
    const injectables = ours.flatMap((module) => [...module.providers.values(), ...module.controllers.values()]);
    expect(injectables.length).toBeGreaterThan(10);
    for (const { token, instance } of injectables) {
      if (typeof instance !== 'object' || instance === null) continue;
      const fixed = Object.entries(Object.getOwnPropertyDescriptors(instance)).filter(
        ([, { value, writable, configurable }]) => typeof value === 'function' && !writable && !configurable,
      );
      expect([token, fixed.map(([name]) => name)]).toEqual([token, []]);
    }
    expect(wrapped.size).toBeGreaterThan(5);
  });
});
