import { Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  ConnectionPoolManager,
  getPoolToken,
  HttpPool,
  MissingDriverError,
  PoolError,
  PoolManagerModule,
  PostgresPool,
  RedisPool,
} from 'nestjs-pool-manager';
import { firstValueFrom, of } from 'rxjs';

import { AppModule } from './app.module.js';
import { OrdersService } from './orders.js';

const orders = [{ id: '1', item: 'anvil' }];

// Nothing listens there. What is not critical does not keep the application from starting.
@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: {
        orders: { type: 'database', connectionString: 'postgres://nobody@127.0.0.1:1/none', critical: false },
        cache: { type: 'redis', url: 'redis://127.0.0.1:1', critical: false, acquireTimeoutMs: 1_000 },
        billing: { type: 'http', baseURL: 'http://127.0.0.1:1', critical: false },
      },
    }),
  ],
})
class UnreachableModule {}

describe('a service that uses every kind of pool', () => {
  it('lists the orders of pools that a test puts in the place of the real ones', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('orders'))
      .useValue({ query: () => Promise.resolve({ rows: orders }) })
      .overrideProvider(getPoolToken('cache'))
      .useValue({ client: { get: () => Promise.resolve(JSON.stringify(orders)) } })
      .overrideProvider(getPoolToken('billing'))
      .useValue({ get: () => of({ data: orders }) })
      .compile();
    await expect(module.get(OrdersService).list('acme')).resolves.toEqual(orders);
    await module.close();
  });

  it('loads the drivers of the real ones, and hears that their servers are not there', async () => {
    const module = await Test.createTestingModule({ imports: [UnreachableModule] }).compile();
    await module.init();
    const manager = module.get(ConnectionPoolManager);
    const db: PostgresPool = manager.getPool('orders');
    const cache: RedisPool = manager.getPool('cache');
    const billing: HttpPool = manager.getPool('billing');
    expect(cache).toBe(module.get(getPoolToken('cache')));
    expect(cache).toBeInstanceOf(RedisPool);
    const calls = [db.query('select 1'), cache.use((redis) => redis.get('x')), firstValueFrom(billing.get('/'))];
    const outcomes = await Promise.allSettled(calls);
    const errors: unknown[] = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined));
    expect(errors[0]).toBeInstanceOf(PoolError);
    expect(errors[1]).toBeInstanceOf(PoolError);
    expect(errors[2]).toMatchObject({ code: 'ECONNREFUSED' });
    for (const error of errors) expect(error).not.toBeInstanceOf(MissingDriverError);
    await module.close();
  }, 30_000);
});
