/**
 * Orders of the current tenant. No line of it mentions the tenant but the cache's keys: the pools know.
 */
import { Inject, Injectable, Logger, NotFoundException } from '@nestjs/common';
import { HttpPool, InjectPool, PostgresPool, RedisPool, TenantContext } from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';

import type { NewOrder, Order } from './order.js';

const COLUMNS = 'id, item, quantity, invoice, created_at::text';
const CACHED_FOR_S = 60;

/** What a tenant has ordered in all. */
export interface Summary {
  readonly orders: number;
  readonly pieces: number;
}

@Injectable()
export class OrdersService {
  private readonly logger = new Logger(OrdersService.name);

  constructor(
    @InjectPool('orders') private readonly db: PostgresPool,
    @InjectPool('cache') private readonly cache: RedisPool,
    @InjectPool('billing') private readonly billing: HttpPool,
    @Inject(TenantContext) private readonly tenants: TenantContext,
  ) {}

  async list(): Promise<readonly Order[]> {
    const { rows } = await this.db.query<Order>(`select ${COLUMNS} from orders order by id desc limit 100`);
    return rows;
  }

  /** Reads through the cache. */
  async find(id: string): Promise<Order> {
    const key = this.keyOf(id);
    const cached = await this.cache.client.get(key);
    if (cached !== null) return JSON.parse(cached) as Order;
    const { rows } = await this.db.query<Order>(`select ${COLUMNS} from orders where id = $1`, [id]);
    const [order] = rows;
    if (order === undefined) throw new NotFoundException(`There is no order ${id}`);
    await this.cache.client.set(key, JSON.stringify(order), 'EX', CACHED_FOR_S);
    return order;
  }

  /** Saves the order, then asks billing for an invoice; no connection is held while billing thinks. */
  async create({ item, quantity }: NewOrder): Promise<Order> {
    const { rows } = await this.db.query<Order>(
      `insert into orders (item, quantity) values ($1, $2) returning ${COLUMNS}`,
      [item, quantity],
    );
    const [order] = rows;
    if (order === undefined) throw new Error('the insert returned nothing');
    const invoice = await this.invoiceFor(order);
    if (invoice === undefined) return order;
    await this.db.transaction(async (tx) => {
      await tx.query('select from orders where id = $1 for update', [order.id]);
      await tx.query('update orders set invoice = $2 where id = $1', [order.id, invoice]);
    });
    await this.cache.client.del(this.keyOf(order.id));
    return { ...order, invoice };
  }

  /** A report that takes a tenth of a second, as one over more rows than these would. */
  async summary(): Promise<Summary> {
    const { rows } = await this.db.query<{ orders: string; pieces: string }>(
      'select count(*) as orders, coalesce(sum(quantity), 0) as pieces from orders, pg_sleep(0.1)',
    );
    return { orders: Number(rows[0]?.orders ?? 0), pieces: Number(rows[0]?.pieces ?? 0) };
  }

  /** Billing is not critical: without it there is an order, but no invoice yet. */
  private async invoiceFor(order: Order): Promise<string | undefined> {
    try {
      const { data } = await firstValueFrom(
        this.billing.post<{ invoice: string }>('/invoices', { order: order.id, quantity: order.quantity }),
      );
      return data.invoice;
    } catch (error) {
      this.logger.warn(`No invoice for order ${order.id}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  private keyOf(id: string): string {
    return `${this.tenants.current() ?? ''}:order:${id}`;
  }
}
