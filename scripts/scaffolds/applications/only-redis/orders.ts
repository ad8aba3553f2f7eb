import { Controller, Get, Injectable, UseInterceptors } from '@nestjs/common';
import { CurrentTenant, InjectPool, RedisPool, TenantGuardInterceptor } from 'nestjs-pool-manager';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    cache: RedisPool;
  }
}

@Injectable()
export class OrdersService {
  constructor(@InjectPool('cache') private readonly cache: RedisPool) {}

  async list(tenant: string): Promise<unknown> {
    const found: unknown = JSON.parse((await this.cache.client.get(`orders:${tenant}`)) ?? '[]');
    return found;
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
