import { Module } from '@nestjs/common';
import {
  fromHeader,
  PoolHealthModule,
  PoolManagerModule,
  type HttpPool,
  type PostgresPool,
  type RedisPool,
} from 'nestjs-pool-manager';

import { OrdersController, OrdersService } from './orders.js';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    orders: PostgresPool;
    cache: RedisPool;
    billing: HttpPool;
  }
}

@Module({
  imports: [
    PoolManagerModule.forRootAsync({
      pools: ['orders', 'cache', 'billing'],
      useFactory: () => ({
        pools: {
          orders: { type: 'database', isolation: { mode: 'rls', setting: 'app.tenant_id' } },
          cache: { type: 'redis' },
          billing: { type: 'http', baseURL: process.env.BILLING_URL ?? 'http://localhost', maxSize: 5 },
        },
        tenancy: { resolve: fromHeader('x-tenant-id') },
      }),
    }),
    PoolHealthModule,
  ],
  controllers: [OrdersController],
  providers: [OrdersService],
})
export class AppModule {}
