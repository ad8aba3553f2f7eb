import { Controller, Get, Injectable, UseInterceptors } from '@nestjs/common';
import { InjectPool, PostgresPool, TenantGuardInterceptor } from 'nestjs-pool-manager';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    orders: PostgresPool;
  }
}

export interface Order {
  readonly id: string;
  readonly item: string;
}

@Injectable()
export class OrdersService {
  constructor(@InjectPool('orders') private readonly db: PostgresPool) {}

  async list(): Promise<Order[]> {
    const { rows } = await this.db.query<Order>('select id, item from orders order by id');
    return rows;
  }
}

@Controller('orders')
@UseInterceptors(TenantGuardInterceptor)
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Get()
  list() {
    return this.orders.list();
  }
}
