import { Injectable, Module } from '@nestjs/common';
import { InjectPool, PoolManagerModule, PostgresPool } from 'nestjs-pool-manager';

export interface Order {
  readonly id: number;
}

@Injectable()
export class OrdersService {
  constructor(@InjectPool('orders') readonly db: PostgresPool) {}

  async list(): Promise<Order[]> {
    const { rows } = await this.db.query<Order>('select id from orders');
    return rows;
  }
}

@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: {
        orders: {
          type: 'database',
          // Nothing listens there: what is not critical does not keep the application from starting.
          connectionString: 'postgres://nobody@127.0.0.1:1/none',
          critical: false,
          acquireTimeoutMs: 1_000,
        },
      },
    }),
  ],
  providers: [OrdersService],
})
export class AppModule {}
