// The route of the metrics, in applications on Express and on Fastify.
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
  Injectable,
  type ModuleMetadata,
  SetMetadata,
  VersioningType,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { Counter, Registry } from 'prom-client';

import {
  ConnectionPoolManager,
  fromHeader,
  PoolManagerModule,
  type PoolManagerOptions,
  PoolMetricsModule,
  TenantGuardInterceptor,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { problemsOf } from '../support/problems.js';

const applications: INestApplication[] = [];
afterEach(async () => {
  await Promise.all(applications.splice(0).map((application) => application.close()));
});

function pools(id = 'mail'): PoolManagerOptions {
  return {
    pools: { [id]: { type: 'external', driver: new FakeDriver() } },
    tenancy: { resolve: fromHeader('x-tenant-id') },
  };
}

async function serve(metadata: ModuleMetadata, { fastify = false, versioned = false, prefix = '' } = {}) {
  const module = await Test.createTestingModule(metadata).setLogger(new LogBook()).compile();
  const application = fastify
    ? module.createNestApplication<NestFastifyApplication>(new FastifyAdapter())
    : module.createNestApplication(new ExpressAdapter());
  applications.push(application);
  if (prefix !== '') application.setGlobalPrefix(prefix);
  if (versioned) application.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
  await application.listen(0, '127.0.0.1');
  const url = await application.getUrl();
  const get = async (path: string) => {
    const response = await fetch(url + path, { headers: { connection: 'close' } });
    const { status, headers } = response;
    return {
      status,
      // The parameters in alphabetical order: versions of Express write them in different ones.
      type: headers.get('content-type')?.split('; ').sort().join('; '),
      cache: headers.get('cache-control'),
      text: await response.text(),
    };
  };
  return { application, get };
}

@Injectable()
class OnlyPublic implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return Reflect.getMetadata('public', context.getClass()) === true;
  }
}

describe.each([
  ['Express', false],
  ['Fastify', true],
])('the route of the metrics on %s', (_name, fastify) => {
  it("answers in Prometheus' format", async () => {
    const { application, get } = await serve(
      { imports: [PoolManagerModule.forRoot(pools()), PoolMetricsModule] },
      { fastify },
    );
    (await application.get(ConnectionPoolManager).getPool('mail').acquire()).release();
    const { status, type, cache, text } = await get('/metrics');
    expect({ status, type }).toEqual({ status: 200, type: 'charset=utf-8; text/plain; version=0.0.4' });
    expect(cache).toContain('no-store');
    expect(text).toContain('# TYPE pool_manager_acquisitions_total counter');
    expect(text).toContain('pool_manager_acquisitions_total{pool="mail",type="external"} 1');
    expect(text).not.toContain('tenant=');
  });

  it('needs no tenant where every other route does, and no version', async () => {
    const { get } = await serve(
      {
        imports: [PoolManagerModule.forRoot(pools()), PoolMetricsModule],
        providers: [{ provide: APP_INTERCEPTOR, useClass: TenantGuardInterceptor }],
      },
      { fastify, versioned: true, prefix: 'api' },
    );
    await expect(get('/api/metrics')).resolves.toMatchObject({ status: 200 });
    await expect(get('/api/v1/metrics')).resolves.toMatchObject({ status: 404 });
  });

  it('is where it was asked for, past a guard that lets decorated classes through', async () => {
    const imports = [
      PoolManagerModule.forRoot(pools()),
      PoolMetricsModule.register({ path: 'internal/metrics', decorators: [SetMetadata('public', true)] }),
    ];
    const guarded = { provide: APP_GUARD, useClass: OnlyPublic };
    const { get } = await serve({ imports, providers: [guarded] }, { fastify });
    await expect(get('/internal/metrics')).resolves.toMatchObject({ status: 200 });
    await expect(get('/metrics')).resolves.toMatchObject({ status: 404 });
  });

  it('is behind the guards of the application like every other', async () => {
    const guarded = { provide: APP_GUARD, useClass: OnlyPublic };
    const imports = [PoolManagerModule.forRoot(pools()), PoolMetricsModule];
    const { get } = await serve({ imports, providers: [guarded] }, { fastify });
    await expect(get('/metrics')).resolves.toMatchObject({ status: 403 });
  });

  it('writes all that is in the registry of the application, in the format that it is set to', async () => {
    const registry = new Registry<'application/openmetrics-text; version=1.0.0; charset=utf-8'>();
    new Counter({ name: 'orders_total', help: 'Of the application.', registers: [registry] }).inc(3);
    const imports = [PoolManagerModule.forRoot(pools()), PoolMetricsModule.register({ registry, tenants: { top: 5 } })];
    const { get } = await serve({ imports }, { fastify });
    const { text } = await get('/metrics');
    expect(text).toContain('orders_total 3');
    expect(text).toContain('pool_manager_tenant_slots_used{pool="mail",type="external",tenant="none"} 0');
    registry.setContentType('application/openmetrics-text; version=1.0.0; charset=utf-8');
    const open = await get('/metrics');
    expect(open.type).toBe('application/openmetrics-text; charset=utf-8; version=1.0.0');
    expect(open.text).toMatch(/# EOF\n$/);
  });
});

describe('Applications with metrics', () => {
  it('in one process do not see the pools of each other', async () => {
    const [one, other] = await Promise.all([
      serve({ imports: [PoolManagerModule.forRoot(pools('one')), PoolMetricsModule] }),
      serve({ imports: [PoolManagerModule.forRoot(pools('other')), PoolMetricsModule] }),
    ]);
    const texts = await Promise.all([one.get('/metrics'), other.get('/metrics')]);
    expect(texts.map(({ text }) => [text.includes('pool="one"'), text.includes('pool="other"')])).toEqual([
      [true, false],
      [false, true],
    ]);
  });

  it('may be made of the same modules one after the other, over the same registry', async () => {
    const registry = new Registry();
    const imports = [PoolManagerModule.forRoot(pools()), PoolMetricsModule.register({ registry })];
    const { application } = await serve({ imports });
    await application.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
    const { get } = await serve({ imports });
    expect((await get('/metrics')).text).toContain('pool_manager_up{pool="mail",type="external"} 1');
  });

  it('do not start with options that are wrong', () => {
    expect(problemsOf(() => PoolMetricsModule.register({ path: 'm', tenants: { top: 0 } }))).toEqual([
      expect.stringContaining('PoolMetricsModule.tenants'),
    ]);
    const misspelt: object = { prefix: 'internal' };
    expect(problemsOf(() => PoolMetricsModule.register(misspelt))).toEqual([expect.stringContaining('path')]);
    const noRegistry: object = { registry: 'default' };
    expect(problemsOf(() => PoolMetricsModule.register(noRegistry))).toEqual([
      expect.stringContaining('a Registry of prom-client'),
    ]);
  });
});

describe('Without prom-client', () => {
  afterEach(() => {
    jest.unstable_unmockModule('prom-client');
  });

  it('an application starts without metrics, and with them is refused by the name of the package to install', async () => {
    await jest.isolateModulesAsync(async () => {
      jest.unstable_mockModule('prom-client', () => {
        throw Object.assign(new Error("Cannot find package 'prom-client'"), { code: 'ERR_MODULE_NOT_FOUND' });
      });
      const isolated = await import('../../lib/index.js');
      const { Test } = await import('@nestjs/testing');
      const manager = isolated.PoolManagerModule.forRoot({ pools: {} });
      const without = await Test.createTestingModule({ imports: [manager] })
        .setLogger(new LogBook())
        .compile();
      await without.close();
      const error: unknown = await Test.createTestingModule({ imports: [manager, isolated.PoolMetricsModule] })
        .setLogger(new LogBook())
        .compile()
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(isolated.PoolConfigError);
      expect(error).toMatchObject({
        problems: [{ key: 'PoolMetricsModule', rule: expect.stringContaining('npm install prom-client') }],
        cause: { code: 'ERR_MODULE_NOT_FOUND' },
      });
    });
  });

  it('a registry that should show a manager is refused by the name of the function that was called', async () => {
    await jest.isolateModulesAsync(async () => {
      jest.unstable_mockModule('prom-client', () => {
        throw Object.assign(new Error("Cannot find package 'prom-client'"), { code: 'ERR_MODULE_NOT_FOUND' });
      });
      const isolated = await import('../../lib/index.js');
      const manager = new isolated.ConnectionPoolManager({ pools: {} }, { logger: new LogBook() });
      await expect(isolated.collectPoolMetrics(new Registry(), manager)).rejects.toMatchObject({
        problems: [{ key: 'collectPoolMetrics', rule: expect.stringContaining('npm install prom-client') }],
      });
    });
  });
});
