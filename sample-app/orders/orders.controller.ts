import { Body, Controller, Get, Inject, Param, Post, UseInterceptors } from '@nestjs/common';
import { TenantGuardInterceptor } from 'nestjs-pool-manager';

import { type Order, parseNewOrder, parseOrderId } from './order.js';
import { OrdersService, type Summary } from './orders.service.js';

/** Every handler runs as the tenant of its request; without one the answer is 400. */
@Controller('orders')
@UseInterceptors(TenantGuardInterceptor)
export class OrdersController {
  constructor(@Inject(OrdersService) private readonly orders: OrdersService) {}

  @Get()
  list(): Promise<readonly Order[]> {
    return this.orders.list();
  }

  @Get('summary')
  summary(): Promise<Summary> {
    return this.orders.summary();
  }

  @Get(':id')
  find(@Param('id') id: string): Promise<Order> {
    return this.orders.find(parseOrderId(id));
  }

  @Post()
  create(@Body() body: unknown): Promise<Order> {
    return this.orders.create(parseNewOrder(body));
  }
}
