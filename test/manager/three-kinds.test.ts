import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, type INestApplication, Param, UseInterceptors } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { firstValueFrom } from 'rxjs';

import {
  ConnectionPoolManager,
  CurrentTenant,
  fromHeader,
  HttpPool,
  InjectPool,
  PoolHealthModule,
  PoolManagerModule,
  PostgresPool,
  RedisPool,
  TenantGuardInterceptor,
} from '../../lib/index.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';

@Controller('orders')
@UseInterceptors(TenantGuardInterceptor)
class OrdersController {
  constructor(
    @InjectPool('orders') private readonly db: PostgresPool,
    @InjectPool('cache') private readonly cache: RedisPool,
    @InjectPool('billing') private readonly billing: HttpPool,
  ) {}

  /** Through all three: the row, its invoice, and how often it was read. */
  @Get(':id')
  async one(@Param('id') id: string, @CurrentTenant() tenant: string) {
    const { rows } = await this.db.query<{ item: string }>('select item from orders where id = $1', [id]);
    const reads = await this.cache.client.incr(`${tenant}:reads:${id}`);
    const invoice = await firstValueFrom(this.billing.get<{ url: string }>(`/echo?order=${id}`));
    const inTransaction = await this.db.transaction(async (tx) => {
      const { rows: counted } = await tx.query<{ count: number }>('select count(*)::int as count from orders');
      return counted[0]?.count;
    });
    const exclusive = await this.cache.use((redis) => redis.ping());
    return { item: rows[0]?.item, reads, invoice: invoice.data.url, inTransaction, exclusive };
  }
}

let database: TestDatabase;
let redis: TestRedis;
let billing: HttpFixture;
let application: INestApplication;
const logger = new LogBook();

beforeAll(async () => {
  [database, redis, billing] = await Promise.all([createDatabase(), claimRedis(), startHttpServer()]);
  await database.query(`create table orders (id int primary key, item text not null)`);
  await database.query(`insert into orders values (1, 'lamp'), (2, 'chair')`);
  await database.query(`grant select on orders to public`);
  const module = await Test.createTestingModule({
    imports: [
      PoolManagerModule.forRootAsync({
        pools: ['orders', 'cache', 'billing'],
        useFactory: () => ({
          applicationName: 'three-kinds',
          pools: {
            orders: { type: 'database', connectionString: database.url, maxSize: 6, tenants: { max: 3 } },
            cache: { type: 'redis', url: redis.url, maxSize: 4 },
            billing: { type: 'http', baseURL: billing.url, maxSize: 8, critical: false },
          },
          tenancy: { resolve: fromHeader('x-tenant-id') },
        }),
      }),
      PoolHealthModule,
    ],
    controllers: [OrdersController],
  })
    .setLogger(logger)
    .compile();
  application = module.createNestApplication();
  await application.listen(0, '127.0.0.1');
});

afterAll(async () => {
  await application.close();
  await Promise.all([database.drop(), redis.release(), billing.close()]);
});

async function get(path: string, tenant?: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch((await application.getUrl()) + path, {
    headers: tenant === undefined ? {} : { 'x-tenant-id': tenant },
  });
  return { status: response.status, body: await response.json() };
}

describe('an application with PostgreSQL, Redis and HTTP', () => {
  it('uses all three in one request, as one tenant', async () => {
    await expect(get('/orders/1', 'acme')).resolves.toEqual({
      status: 200,
      body: { item: 'lamp', reads: 1, invoice: '/echo?order=1', inTransaction: 2, exclusive: 'PONG' },
    });
    const manager = application.get(ConnectionPoolManager);
    expect(manager.getPool('orders', PostgresPool).stats().tenant('acme')).toMatchObject({
      acquisitions: 2,
      active: 0,
    });
    expect(manager.getPool('cache', RedisPool).stats().tenant('acme')).toMatchObject({ acquisitions: 1, active: 0 });
    expect(manager.getPool('billing', HttpPool).stats().tenant('acme')).toMatchObject({ acquisitions: 1, active: 0 });
  });

  it('refuses a request without a tenant, and not a health check', async () => {
    await expect(get('/orders/1')).resolves.toMatchObject({ status: 400 });
    await expect(get('/orders/1', 'a'.repeat(129))).resolves.toMatchObject({ status: 400 });
    const up = { status: 'up', state: 'healthy' };
    await expect(get('/health')).resolves.toMatchObject({
      status: 200,
      body: { status: 'ok', details: { orders: up, cache: up, billing: up } },
    });
  });

  it('serves many requests of many tenants and has everything back afterwards', async () => {
    const answers = await Promise.all(
      Array.from({ length: 120 }, (_, index) => get('/orders/2', `tenant-${index % 6}`)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const manager = application.get(ConnectionPoolManager);
    await eventually(() => {
      for (const pool of manager.listPools())
        expect(manager.getPool(pool.id).stats()).toMatchObject({ active: 0, waiting: 0 });
    });
    expect(logger.lines.filter((line) => line.startsWith('error'))).toEqual([]);
  });

  it('leaves no session behind when it is closed', async () => {
    await application.close();
    const report = await application.get(ConnectionPoolManager).stop();
    expect(report).toMatchObject({
      clean: true,
      pools: [{ poolId: 'orders' }, { poolId: 'cache' }, { poolId: 'billing' }],
    });
    await eventually(async () => {
      expect(await database.query(`select 1 from pg_stat_activity where application_name like 'three-kinds%'`)).toEqual(
        [],
      );
      expect(billing.counters.openSockets).toBe(0);
    });
  });
});
