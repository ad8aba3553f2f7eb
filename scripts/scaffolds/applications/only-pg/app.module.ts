import { Module } from '@nestjs/common';
import { fromHeader, PoolManagerModule } from 'nestjs-pool-manager';

import { OrdersController, OrdersService } from './orders.js';

@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: { orders: { type: 'database', isolation: { mode: 'rls', setting: 'app.tenant_id' } } },
      tenancy: { resolve: fromHeader('x-tenant-id') },
    }),
  ],
  controllers: [OrdersController],
  providers: [OrdersService],
})
export class AppModule {}
