import { describe, expect, it } from '@jest/globals';
import { Controller, Get, UseInterceptors } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';

import {
  ConnectionPoolManager,
  fromHeader,
  InjectPool,
  PoolManagerModule,
  type PostgresPool,
  type ShutdownReport,
  TenantGuardInterceptor,
} from '../../lib/index.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { withDatabase } from '../support/with-database.js';
import { applicationOfTest } from './support/application-of-test.js';

@Controller()
@UseInterceptors(TenantGuardInterceptor)
class WorkController {
  constructor(@InjectPool('orders') private readonly pool: PostgresPool) {}

  /** Takes a connection and never returns. */
  @Get('hung')
  async hung() {
    await this.pool.acquire();
    return new Promise(() => undefined);
  }

  /** Never returns, and holds nothing. */
  @Get('idle')
  idle() {
    return new Promise(() => undefined);
  }

  /** Waits for a statement that takes far too long. */
  @Get('slow')
  async slow() {
    const { rows } = await this.pool.query('select pg_sleep(60)');
    return rows;
  }

  /** Works until the test lets it finish. */
  @Get('work')
  async work() {
    const { rows } = await this.pool.query<{ done: number }>('select pg_advisory_lock_shared(7), 1 as done');
    return rows[0]?.done;
  }
}

let database: TestDatabase;
withDatabase((made) => (database = made));

const present = applicationOfTest();

let applicationsMade = 0;

describe.each([
  ['Express', false],
  ['Fastify', true],
])('the shutdown of an application on %s', (_name, fastify) => {
  async function serve(drainTimeoutMs: number) {
    const applicationName = `shutdown-${applicationsMade++}`;
    const module = await Test.createTestingModule({
      imports: [
        PoolManagerModule.forRoot({
          pools: { orders: { type: 'database', connectionString: database.url, maxSize: 2 } },
          tenancy: { resolve: fromHeader('x-tenant-id') },
          shutdown: { drainTimeoutMs },
          applicationName,
        }),
      ],
      controllers: [WorkController],
    })
      .setLogger(present.logger)
      .compile();
    const app = fastify
      ? module.createNestApplication<NestFastifyApplication>(new FastifyAdapter())
      : module.createNestApplication(new ExpressAdapter());
    present.application = app;
    await app.listen(0, '127.0.0.1');
    const url = await app.getUrl();
    const manager = app.get(ConnectionPoolManager);
    const get = async (path: string): Promise<number | 'cut'> => {
      try {
        const response = await fetch(url + path, { headers: { 'x-tenant-id': 'acme' } });
        await response.arrayBuffer();
        return response.status;
      } catch {
        return 'cut';
      }
    };
    const shutDown = async (): Promise<ShutdownReport> => {
      await app.close();
      return manager.stop();
    };
    const busy = (count: number) => eventually(() => expect(manager.getStats().orders?.active).toBe(count));
    /** Until the server knows no session of this application any more. */
    const noSessions = () =>
      eventually(async () => {
        const known = await database.query(`select state from pg_stat_activity where application_name like $1 || '%'`, [
          applicationName,
        ]);
        expect(known).toEqual([]);
      });
    return { get, shutDown, busy, noSessions, manager };
  }

  it('ends by the deadline with a lease that never comes back, in a handler that never returns', async () => {
    const { get, shutDown, busy, noSessions } = await serve(200);
    const hung = get('/hung');
    await busy(1);
    const report = await shutDown();
    expect(report).toMatchObject({
      clean: false,
      pools: [{ poolId: 'orders', cut: 1, holders: [{ tenantId: 'acme' }] }],
    });
    await expect(hung).resolves.toBe('cut');
    await noSessions();
    expect(present.logger.says(/Pools closed in .*did not end by the drain deadline.*held by acme/)).toBe(true);
  });

  it('ends by the deadline with a handler that never returns and holds nothing', async () => {
    const { get, shutDown, manager } = await serve(200);
    const idle = get('/idle');
    await get('/nothing-here');
    const report = await shutDown();
    expect(report).toMatchObject({ clean: false, pools: [{ cut: 0 }] });
    await expect(idle).resolves.toBe('cut');
    expect(manager.getPool('orders').status).toBe('closed');
  });

  it('lets handlers answer whose leases were cut', async () => {
    const { get, shutDown, busy } = await serve(200);
    const slow = get('/slow');
    await busy(1);
    await shutDown();
    expect([500, 503]).toContain(await slow);
  });

  it('waits for work in flight, which may still ask for connections, and refuses no request', async () => {
    const { get, shutDown, busy, noSessions } = await serve(20_000);
    await database.query('select pg_advisory_lock(7)');
    const work = [get('/work'), get('/work'), get('/work'), get('/work')];
    await busy(2);
    const closing = shutDown();
    await database.query('select pg_advisory_unlock(7)');
    await expect(Promise.all(work)).resolves.toEqual([200, 200, 200, 200]);
    await expect(closing).resolves.toMatchObject({ clean: true, pools: [{ cut: 0, refused: 0 }] });
    await noSessions();
  });
});
