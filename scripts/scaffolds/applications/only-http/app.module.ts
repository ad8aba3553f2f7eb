import { Module } from '@nestjs/common';
import { fromHeader, PoolHealthModule, PoolManagerModule } from 'nestjs-pool-manager';

import { OrdersController, OrdersService } from './orders.js';

@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: { billing: { type: 'http', baseURL: process.env.BILLING_URL ?? 'http://localhost' } },
      tenancy: { resolve: fromHeader('x-tenant-id') },
    }),
    PoolHealthModule,
  ],
  controllers: [OrdersController],
  providers: [OrdersService],
})
export class AppModule {}
