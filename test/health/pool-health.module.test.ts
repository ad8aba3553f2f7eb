import { afterEach, describe, expect, it } from '@jest/globals';
import { type INestApplication, type ModuleMetadata, VersioningType } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
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

async function serve(metadata: ModuleMetadata, { fastify = false, versioned = false } = {}) {
  const module = await Test.createTestingModule(metadata).setLogger(new LogBook()).compile();
  const application = fastify
    ? module.createNestApplication<NestFastifyApplication>(new FastifyAdapter())
    : module.createNestApplication(new ExpressAdapter());
  applications.push(application);
  if (versioned) application.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
  await application.listen(0, '127.0.0.1');
  const url = await application.getUrl();
  const get = async (path: string) => {
    const response = await fetch(url + path, { headers: { connection: 'close' } });
    const text = await response.text();
    const body: unknown = JSON.parse(text);
    return { status: response.status, cache: response.headers.get('cache-control'), text, body };
  };
  return { application, get };
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

  it('says degraded in the data where Terminus has no word for it', async () => {
    const { options, mail } = pools();
    const session = (key: string) => ({
      up: (data: object) => ({ [key]: { ...data, status: 'up' } }),
      down: (data: object) => ({ [key]: { ...data, status: 'down' } }),
    });
    const manager = new ConnectionPoolManager(options, { logger: new LogBook() });
    await manager.start();
    try {
      // What HealthIndicatorService of Terminus 11 offers.
      const terminus11: unknown = { check: session };
      const indicator = new PoolHealthIndicator(
        terminus11 as ConstructorParameters<typeof PoolHealthIndicator>[0],
        manager,
      );
      goDown(mail);
      await expect(indicator.check('mail')).resolves.toEqual({
        mail: { status: 'up', state: 'unhealthy', type: 'external', critical: false, degraded: true },
      });
    } finally {
      await manager.stop();
    }
  });
});
