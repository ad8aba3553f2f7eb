import { isDeepStrictEqual } from 'node:util';

import { Controller, Get, Inject, Injectable, UseInterceptors } from '@nestjs/common';
import {
  ConnectionPoolManager,
  CurrentTenant,
  getPoolToken,
  HttpPool,
  InjectPool,
  PostgresPool,
  RedisPool,
  TenantGuardInterceptor,
} from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';

export interface Order {
  readonly id: string;
  readonly item: string;
}

@Injectable()
export class OrdersService {
  constructor(
    @InjectPool('orders') readonly db: PostgresPool,
    @Inject(getPoolToken('cache')) readonly cache: RedisPool,
    @InjectPool('billing') readonly billing: HttpPool,
    readonly manager: ConnectionPoolManager,
  ) {}

  /** The orders of a tenant, which all three servers know. */
  async list(tenant: string): Promise<readonly Order[]> {
    const [{ rows }, cached, { data }] = await Promise.all([
      this.db.query<Order>('select id, item from orders order by id'),
      this.cache.client.get(`orders:${tenant}`),
      firstValueFrom(this.billing.get<readonly Order[]>('/orders', { headers: { 'x-tenant-id': tenant } })),
    ]);
    const others: readonly unknown[] = [JSON.parse(cached ?? '[]'), data];
    if (others.some((orders) => !isDeepStrictEqual(orders, rows))) {
      throw new Error(`PostgreSQL has ${JSON.stringify(rows)}, Redis and HTTP have ${JSON.stringify(others)}`);
    }
    return rows;
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
