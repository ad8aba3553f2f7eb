import { Test } from '@nestjs/testing';
import { getPoolToken } from 'nestjs-pool-manager';

import { AppModule } from './app.module.js';
import { OrdersController } from './orders.js';

describe('a service that uses Redis only', () => {
  it('lists the orders of a pool that a test puts in the place of the real one', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('cache'))
      .useValue({ client: { get: () => Promise.resolve('["anvil"]') } })
      .compile();
    await expect(module.get(OrdersController).list('acme')).resolves.toEqual(['anvil']);
    await module.close();
  });
});
