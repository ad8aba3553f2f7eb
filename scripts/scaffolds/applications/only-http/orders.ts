import { Controller, Get, Injectable, UseInterceptors } from '@nestjs/common';
import { CurrentTenant, HttpPool, InjectPool, TenantGuardInterceptor } from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    billing: HttpPool;
  }
}

@Injectable()
export class OrdersService {
  constructor(@InjectPool('billing') private readonly billing: HttpPool) {}

  async list(tenant: string): Promise<unknown> {
    const { data } = await firstValueFrom(this.billing.get<unknown>('/orders', { headers: { 'x-tenant-id': tenant } }));
    return data;
  }
}

@Controller('orders')
@UseInterceptors(TenantGuardInterceptor)
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Get()
  list(@CurrentTenant() tenant: string) {
    return this.orders.list(tenant);
  }
}
