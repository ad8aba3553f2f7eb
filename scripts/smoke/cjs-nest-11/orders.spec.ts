import { Test } from '@nestjs/testing';
import { MissingDriverError, PoolError, getPoolToken } from 'nestjs-pool-manager';
import { AppModule, OrdersService } from './orders.service';

describe('a service that uses a pool, under a Jest that runs CommonJS', () => {
  it('gets a fake in place of the pool', async () => {
    const fake = { query: () => Promise.resolve({ rows: [{ id: 1 }] }) };
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('orders'))
      .useValue(fake)
      .compile();
    await module.init();
    await expect(module.get(OrdersService).list()).resolves.toEqual([{ id: 1 }]);
    await module.close();
  });

  it('loads the driver of the real one', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
    await module.init();
    const failure: unknown = await module
      .get(OrdersService)
      .list()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PoolError);
    expect(failure).not.toBeInstanceOf(MissingDriverError);
    await module.close();
  });
});
