import { describe, expect, it } from '@jest/globals';
import { Controller, Get, type INestApplication, UseInterceptors } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';

import {
  ConnectionPoolManager,
  CurrentTenant,
  fromHeader,
  InjectPool,
  PoolManagerModule,
  type PostgresPool,
  TenantGuardInterceptor,
} from '../../lib/index.js';
import type { TestDatabase } from '../support/databases.js';
import { LogBook } from '../support/log-book.js';
import { withDatabase } from '../support/with-database.js';

/** Connections of the pool, and those that one tenant may have. */
const MAX_SIZE = 6;
const TENANT_MAX = 2;

@Controller()
@UseInterceptors(TenantGuardInterceptor)
class WorkController {
  constructor(@InjectPool('orders') private readonly pool: PostgresPool) {}

  /** The server sees whose statement it runs. */
  @Get('work')
  async work(@CurrentTenant() tenant: string) {
    await this.pool.query(`select pg_sleep(0.01) /* ${tenant} */`);
    return { tenant };
  }
}

let database: TestDatabase;
withDatabase((made) => (database = made));

/** Asks the server, until `done`, how many statements of each tenant it runs at this moment; the most of each. */
async function observe(tenants: readonly string[], done: Promise<unknown>): Promise<Record<string, number>> {
  const most: Record<string, number> = Object.fromEntries(tenants.map((tenant) => [tenant, 0]));
  let over = false;
  void done.finally(() => (over = true));
  while (!over) {
    const rows = await database.query<{ tenant: string; count: number }>(
      `select tenant, count(*)::int as count
       from pg_stat_activity join unnest($1::text[]) as tenant on query like 'select pg_sleep%/* ' || tenant || ' */'
       where state = 'active' group by tenant`,
      [tenants],
    );
    for (const { tenant, count } of rows) most[tenant] = Math.max(most[tenant] ?? 0, count);
  }
  return most;
}

describe.each([
  ['Express', false],
  ['Fastify', true],
])('two tenants on one pool, on %s', (_name, fastify) => {
  it('are each kept to their maximum while 200 requests run, as the server sees it', async () => {
    const module = await Test.createTestingModule({
      imports: [
        PoolManagerModule.forRoot({
          pools: {
            orders: {
              type: 'database',
              connectionString: database.url,
              maxSize: MAX_SIZE,
              maxConnectionsPerTenant: TENANT_MAX,
            },
          },
          tenancy: { resolve: fromHeader('x-tenant-id') },
        }),
      ],
      controllers: [WorkController],
    })
      .setLogger(new LogBook())
      .compile();
    const application: INestApplication = fastify
      ? module.createNestApplication<NestFastifyApplication>(new FastifyAdapter())
      : module.createNestApplication(new ExpressAdapter());
    try {
      await application.listen(0, '127.0.0.1');
      const url = `${await application.getUrl()}/work`;
      const requests = Array.from({ length: 200 }, async (_, index) => {
        const tenant = index % 2 === 0 ? 'acme' : 'globex';
        const response = await fetch(url, { headers: { 'x-tenant-id': tenant } });
        return { status: response.status, body: await response.json(), tenant };
      });
      const served = Promise.all(requests);
      const most = await observe(['acme', 'globex'], served);
      for (const { status, body, tenant } of await served) {
        expect(status).toBe(200);
        expect(body).toEqual({ tenant });
      }
      // A sample may miss the moment when both of a tenant's slots are at work; it may never see a third.
      for (const tenant of ['acme', 'globex']) {
        expect(most[tenant]).toBeGreaterThan(0);
        expect(most[tenant]).toBeLessThanOrEqual(TENANT_MAX);
      }
      const stats = application.get(ConnectionPoolManager).getPool('orders').stats();
      expect(stats).toMatchObject({ acquisitions: 200, active: 0, waiting: 0 });
      expect(stats.total).toBeLessThanOrEqual(2 * TENANT_MAX);
    } finally {
      await application.close();
    }
  });
});
