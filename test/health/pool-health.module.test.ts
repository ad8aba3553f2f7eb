import { afterEach, describe, expect, it } from '@jest/globals';
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
import { TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';

import {
  ConnectionPoolManager,
  fromHeader,
  getPoolToken,
  PoolHealthIndicator,
  PoolHealthModule,
  PoolManagerModule,
  type PoolManagerOptions,
  TenantGuardInterceptor,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { errorOf } from '../support/problems.js';

const applications: INestApplication[] = [];
afterEach(async () => {
  await Promise.all(applications.splice(0).map((application) => application.close()));
});

/** Two pools; `orders` is critical, `mail` is not. The first failure makes either unhealthy. */
function pools() {
  const orders = new FakeDriver();
  const mail = new FakeDriver();
  const healthCheck = { failureThreshold: 1 };
  const options: PoolManagerOptions = {
    pools: {
      orders: { type: 'external', driver: orders, healthCheck },
      mail: { type: 'external', driver: mail, healthCheck, critical: false },
    },
    tenancy: { resolve: fromHeader('x-tenant-id') },
  };
  return { orders, mail, options };
}

function goDown(
  driver: FakeDriver,
  message = 'connect ECONNREFUSED postgres://app:hunter2@db.internal:5432/orders',
): void {
  driver.pingBehaviour = new Error(message);
  driver.openBehaviour = new Error(message);
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
    const text = await response.text();
    // Outside of the global prefix Express answers itself, in HTML.
    const body: unknown = text.startsWith('{') ? JSON.parse(text) : text;
    return { status: response.status, cache: response.headers.get('cache-control'), text, body };
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
])('the health routes on %s', (_name, fastify) => {
  it('are all well while the pools are; liveness does not ask them', async () => {
    const { options, orders } = pools();
    const { get } = await serve({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] }, { fastify });
    await get('/health/live');
    expect(orders.pings).toBe(0);
    const details = {
      orders: { status: 'up', state: 'healthy', type: 'external', critical: true },
      mail: { status: 'up', state: 'healthy', type: 'external', critical: false },
    };
    await expect(get('/health')).resolves.toMatchObject({ status: 200, body: { status: 'ok', details } });
    await expect(get('/health/ready')).resolves.toMatchObject({
      status: 200,
      body: { status: 'ok', details: { pools: { status: 'up', state: 'healthy' } } },
    });
    await expect(get('/health/live')).resolves.toMatchObject({ status: 200, body: { status: 'ok' } });
    expect((await get('/health')).cache).toContain('no-store');
    expect((await get('/health/live')).cache).toContain('no-store');
  });

  it('fail with a critical pool that is down, without a word of where it is; the process stays live', async () => {
    const { options, orders } = pools();
    const { get } = await serve({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] }, { fastify });
    goDown(orders);
    const health = await get('/health');
    expect(health).toMatchObject({
      status: 503,
      body: { status: 'error', error: { orders: { status: 'down', state: 'unhealthy' } } },
    });
    const ready = await get('/health/ready');
    expect(ready).toMatchObject({ status: 503, body: { status: 'error', details: { pools: { state: 'unhealthy' } } } });
    for (const { text } of [health, ready]) expect(text).not.toMatch(/hunter2|db\.internal|5432|postgres:|ECONN/);
    await expect(get('/health/live')).resolves.toMatchObject({ status: 200 });
  });

  it('are only degraded by a pool that is not critical', async () => {
    const { options, mail } = pools();
    const { get } = await serve({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] }, { fastify });
    goDown(mail);
    await expect(get('/health')).resolves.toMatchObject({
      status: 200,
      body: {
        status: 'degraded',
        details: { orders: { status: 'up' }, mail: { status: 'degraded', state: 'unhealthy' } },
      },
    });
    await expect(get('/health/ready')).resolves.toMatchObject({ status: 200, body: { status: 'degraded' } });
  });

  it('need no tenant where every other route does, and no version', async () => {
    const { options } = pools();
    const { get } = await serve(
      {
        imports: [PoolManagerModule.forRoot(options), PoolHealthModule],
        providers: [{ provide: APP_INTERCEPTOR, useClass: TenantGuardInterceptor }],
      },
      { fastify, versioned: true },
    );
    for (const path of ['/health', '/health/live', '/health/ready']) {
      await expect(get(path)).resolves.toMatchObject({ status: 200 });
    }
  });

  it('are not ready, and still live, from the beginning of the shutdown on', async () => {
    const { options } = pools();
    const { get, application } = await serve(
      {
        imports: [PoolManagerModule.forRoot({ ...options, shutdown: { readinessGraceMs: 400 } }), PoolHealthModule],
      },
      { fastify },
    );
    const manager = application.get(ConnectionPoolManager);
    const closing = application.close();
    while (!manager.isStopping) await new Promise((resolve) => setImmediate(resolve));
    const [ready, all, live] = await Promise.all([get('/health/ready'), get('/health'), get('/health/live')]);
    expect(ready).toMatchObject({ status: 503, body: { details: { pools: { status: 'down', state: 'draining' } } } });
    expect(all).toMatchObject({ status: 503, body: { details: { orders: { status: 'down', state: 'draining' } } } });
    expect(live.status).toBe(200);
    await closing;
  });
});

describe.each([
  ['Express', false],
  ['Fastify', true],
])('the health routes that an application registers, on %s', (_name, fastify) => {
  it('have the paths that it gives them, below its prefix and in every version', async () => {
    const { options } = pools();
    const routes = { path: '/internal/health/', all: 'pools', live: 'livez', ready: 'readyz' };
    const { get } = await serve(
      { imports: [PoolManagerModule.forRoot(options), PoolHealthModule.register(routes)] },
      { fastify, versioned: true, prefix: 'api' },
    );
    await expect(get('/api/internal/health/pools')).resolves.toMatchObject({
      status: 200,
      body: { details: { orders: { status: 'up' }, mail: { status: 'up' } } },
    });
    await expect(get('/api/internal/health/livez')).resolves.toMatchObject({ status: 200, body: { status: 'ok' } });
    await expect(get('/api/internal/health/readyz')).resolves.toMatchObject({
      status: 200,
      body: { details: { pools: { status: 'up' } } },
    });
    for (const path of ['/health', '/api/health', '/api/internal/health', '/api/internal/health/live']) {
      await expect(get(path)).resolves.toMatchObject({ status: 404 });
    }
  });

  it('are at the root where the path is empty', async () => {
    const { options } = pools();
    const routes = { path: '', all: 'healthz', live: 'livez', ready: 'readyz' };
    const { get } = await serve(
      { imports: [PoolManagerModule.forRoot(options), PoolHealthModule.register(routes)] },
      { fastify },
    );
    for (const path of ['/healthz', '/livez', '/readyz']) {
      await expect(get(path)).resolves.toMatchObject({ status: 200 });
    }
    await expect(get('/')).resolves.toMatchObject({ status: 404 });
  });

  it('are left out where they are false', async () => {
    const { options } = pools();
    const { get } = await serve(
      { imports: [PoolManagerModule.forRoot(options), PoolHealthModule.register({ all: false, ready: false })] },
      { fastify },
    );
    await expect(get('/health/live')).resolves.toMatchObject({ status: 200 });
    for (const path of ['/health', '/health/ready']) await expect(get(path)).resolves.toMatchObject({ status: 404 });
  });

  it('are let past a global guard by the decorator that they are given', async () => {
    const { options } = pools();
    const routes = { path: 'open', decorators: [SetMetadata('public', true)] };
    const { get } = await serve(
      {
        imports: [PoolManagerModule.forRoot(options), PoolHealthModule, PoolHealthModule.register(routes)],
        providers: [{ provide: APP_GUARD, useClass: OnlyPublic }],
      },
      { fastify },
    );
    await expect(get('/open/ready')).resolves.toMatchObject({ status: 200 });
    await expect(get('/health/ready')).resolves.toMatchObject({ status: 403 });
  });

  it('wait no longer for a probe than they are told', async () => {
    const { options, orders } = pools();
    const { get } = await serve(
      { imports: [PoolManagerModule.forRoot(options), PoolHealthModule.register({ timeoutMs: 20, maxAgeMs: 0 })] },
      { fastify },
    );
    orders.pingBehaviour = 'hang';
    for (const path of ['/health', '/health/ready']) await expect(get(path)).resolves.toMatchObject({ status: 200 });
    orders.letGo();
  });
});

describe('the options of the health routes', () => {
  it.each<[string, object, string, RegExp]>([
    ['an option that does not exist', { readiness: 'x' }, 'readiness', /Did you mean ready/],
    ['a path that is no text', { path: 7 }, 'path', /must be a text, got 7/],
    ['a route that is neither', { live: true }, 'live', /must be a path, or false/],
    ['a guard without UseGuards', { guards: [] }, 'guards', /UseGuards/],
    ['a limit that is no duration', { timeoutMs: -1 }, 'timeoutMs', /at least 0/],
    ['two routes with one path', { ready: '/live' }, 'live', /another path than that of "ready"/],
    ['a route at the path of all', { live: '' }, 'live', /another path than that of "all"/],
  ])('refuse %s', (_what, options, key, rule) => {
    const { problems } = errorOf(() => PoolHealthModule.register(options));
    expect(problems).toEqual([{ key: `PoolHealthModule.${key}`, rule: expect.stringMatching(rule) }]);
  });
});

describe('the health indicator', () => {
  async function indicate(metadata: ModuleMetadata, overridden: string[] = []) {
    const builder = Test.createTestingModule(metadata).setLogger(new LogBook());
    for (const pool of overridden) builder.overrideProvider(getPoolToken(pool)).useValue({});
    const application = (await builder.compile()).createNestApplication();
    applications.push(application);
    await application.init();
    return application.get(PoolHealthIndicator);
  }

  it("can be used in health routes of one's own", async () => {
    const { options, orders } = pools();
    const indicator = await indicate({
      imports: [PoolManagerModule.forRoot(options), TerminusModule],
      providers: [PoolHealthIndicator],
    });
    await expect(indicator.check('orders')).resolves.toEqual({
      orders: { status: 'up', state: 'healthy', type: 'external', critical: true },
    });
    goDown(orders);
    await expect(indicator.check('orders', { maxAgeMs: 0 })).resolves.toMatchObject({ orders: { status: 'down' } });
    await expect(indicator.check('ordres')).rejects.toMatchObject({ code: 'POOL_NOT_FOUND' });
  });

  it('answers in time although the backend does not', async () => {
    const { options, orders } = pools();
    const indicator = await indicate({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] });
    orders.pingBehaviour = 'hang';
    await expect(indicator.checkAll({ timeoutMs: 20, maxAgeMs: 0 })).resolves.toMatchObject({
      orders: { state: 'healthy' },
    });
    orders.letGo();
  });

  it('asks a backend once, however many ask', async () => {
    const { options, orders } = pools();
    const indicator = await indicate({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] });
    await Promise.all(Array.from({ length: 50 }, () => indicator.checkAll()));
    await indicator.checkAll();
    expect(orders.pings).toBe(1);
  });

  it('finds nothing wrong with a pool that a test overrides', async () => {
    const { options } = pools();
    const indicator = await indicate({ imports: [PoolManagerModule.forRoot(options), PoolHealthModule] }, ['orders']);
    await expect(indicator.check('orders')).resolves.toEqual({ orders: { status: 'up', state: 'overridden' } });
    await expect(indicator.checkAll()).resolves.toEqual({ mail: expect.objectContaining({ status: 'up' }) });
    await expect(indicator.checkReadiness()).resolves.toMatchObject({ pools: { status: 'up' } });
  });
});
