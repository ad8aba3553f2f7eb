import { Module } from '@nestjs/common';
import { fromHeader, PoolHealthModule, PoolManagerModule } from 'nestjs-pool-manager';

import { OrdersController, OrdersService } from './orders.js';

@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: { cache: { type: 'redis' } },
      tenancy: { resolve: fromHeader('x-tenant-id') },
    }),
    PoolHealthModule,
  ],
  controllers: [OrdersController],
  providers: [OrdersService],
})
export class AppModule {}
