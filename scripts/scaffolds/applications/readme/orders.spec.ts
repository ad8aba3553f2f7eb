import { Test } from '@nestjs/testing';
import { getPoolToken } from 'nestjs-pool-manager';

import { AppModule } from './app.module.js';
import { OrdersController } from './orders.js';

describe('the quick start', () => {
  it('lists the orders of a pool that a test puts in the place of the real one', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('orders'))
      .useValue({ query: () => Promise.resolve({ rows: [{ id: '1', item: 'anvil' }] }) })
      .compile();
    await expect(module.get(OrdersController).list()).resolves.toEqual([{ id: '1', item: 'anvil' }]);
    await module.close();
  });
});
