/** An ES module with Nest 12 that installed `pg` and no other driver. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ConnectionPoolManager, InjectPool, PoolManagerModule, PostgresPool } from 'nestjs-pool-manager';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    orders: PostgresPool;
  }
}

interface Order {
  readonly id: number;
}

@Injectable()
class Orders {
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
        orders: { type: 'database', connectionString: 'postgres://nobody@127.0.0.1:1/none', critical: false },
      },
    }),
  ],
  providers: [Orders],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const { db } = app.get(Orders);
const found: PostgresPool = app.get(ConnectionPoolManager).getPool('orders');
assert.equal(db, found);
await app.close();
