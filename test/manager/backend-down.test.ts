import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type INestApplication, Injectable } from '@nestjs/common';
import { Test } from '@nestjs/testing';

import {
  AcquireTimeoutError,
  ConnectionPoolManager,
  InjectPool,
  PoolHealthModule,
  PoolManagerModule,
  type PoolManagerModuleOptions,
  type PostgresPool,
} from '../../lib/index.js';
import { eventually } from '../support/eventually.js';
import { freePort, type PostgresServer, startPostgres } from '../support/servers/index.js';
import { applicationOfTest } from './support/application-of-test.js';

@Injectable()
class Orders {
  constructor(@InjectPool('orders') readonly pool: PostgresPool) {}

  async one(): Promise<unknown> {
    const { rows } = await this.pool.query<{ one: number }>('select 1 as one');
    return rows[0]?.one;
  }
}

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

const present = applicationOfTest();

async function build(options: PoolManagerModuleOptions): Promise<INestApplication> {
  const module = await Test.createTestingModule({
    imports: [PoolManagerModule.forRoot(options), PoolHealthModule],
    providers: [Orders],
  })
    .setLogger(present.logger)
    .compile();
  const application = module.createNestApplication();
  present.application = application;
  return application;
}

async function readiness(of: INestApplication): Promise<number> {
  const response = await fetch(`${await of.getUrl()}/health/ready`, { headers: { connection: 'close' } });
  await response.arrayBuffer();
  return response.status;
}

describe('an application whose PostgreSQL is down when it starts', () => {
  it("boots with startup: 'background', is not ready, and becomes ready when the server comes up", async () => {
    await server.halt();
    const app = await build({
      pools: { orders: { type: 'database', connectionString: server.url, startup: 'background' } },
    });
    await app.listen(0, '127.0.0.1');
    expect(await readiness(app)).toBe(503);
    await server.start();
    await eventually(async () => expect(await readiness(app)).toBe(200), { withinMs: 20_000 });
    await expect(app.get(Orders).one()).resolves.toBe(1);
  });

  it('waits for it by default, and has its connections when it is up', async () => {
    await server.halt();
    const app = await build({ pools: { orders: { type: 'database', connectionString: server.url } } });
    const started = app.init();
    await eventually(() => expect(present.logger.says(/warn: Pool "orders" could not connect/)).toBe(true));
    await server.start();
    await started;
    expect(app.get(Orders).pool.status).toBe('healthy');
    await expect(app.get(Orders).one()).resolves.toBe(1);
  });

  it('does not boot when it stays down for startupTimeoutMs, and says why without a secret', async () => {
    const port = await freePort();
    const connectionString = `postgres://app:hunter2@127.0.0.1:${port}/orders`;
    const app = await build({ pools: { orders: { type: 'database', connectionString, startupTimeoutMs: 1_000 } } });
    const failure: unknown = await app.init().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AcquireTimeoutError);
    expect(failure).toMatchObject({ poolId: 'orders', kind: 'backend', cause: { code: 'ECONNREFUSED' } });
    expect([JSON.stringify(failure), String(failure), ...present.logger.lines].join('\n')).not.toContain('hunter2');
    expect(app.get(Orders).pool.stats()).toMatchObject({ status: 'closed', total: 0 });
  });

  it('boots without a pool that it can live without', async () => {
    const port = await freePort();
    const app = await build({
      pools: {
        orders: { type: 'database', connectionString: server.url },
        reports: { type: 'database', connectionString: `postgres://app@127.0.0.1:${port}/reports`, critical: false },
      },
    });
    await app.listen(0, '127.0.0.1');
    expect(await readiness(app)).toBe(200);
    const health = await app.get(ConnectionPoolManager).healthCheck({ waitMs: 100 });
    expect(health).toMatchObject({ ready: true, status: 'degraded', pools: { orders: { status: 'healthy' } } });
  });
});
