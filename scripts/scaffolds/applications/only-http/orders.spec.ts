import { Test } from '@nestjs/testing';
import { getPoolToken } from 'nestjs-pool-manager';
import { of } from 'rxjs';

import { AppModule } from './app.module.js';
import { OrdersController } from './orders.js';

describe('a service that uses HTTP only', () => {
  it('lists the orders of a pool that a test puts in the place of the real one', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('billing'))
      .useValue({ get: () => of({ data: ['anvil'] }) })
      .compile();
    await expect(module.get(OrdersController).list('acme')).resolves.toEqual(['anvil']);
    await module.close();
  });
});
