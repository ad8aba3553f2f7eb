/** An ES module with Nest 12 and every kind of pool: boots, makes a request through a pool, and exits by itself. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ConnectionPoolManager,
  HttpPool,
  InjectPool,
  PoolManagerModule,
  PostgresPool,
  RedisPool,
  getPoolToken,
} from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';

@Injectable()
class Invoices {
  constructor(
    @InjectPool('billing') private readonly billing: HttpPool,
    @InjectPool('orders') readonly orders: PostgresPool,
    @InjectPool('cache') readonly cache: RedisPool,
    readonly manager: ConnectionPoolManager,
  ) {}

  async greeting(): Promise<string> {
    const response = await firstValueFrom(this.billing.get<{ greeting: string }>('/hello'));
    return response.data.greeting;
  }
}

const upstream = createServer((_request, response) => {
  response.setHeader('content-type', 'application/json').end('{"greeting":"hello"}');
});
await new Promise<void>((listening) => upstream.listen(0, '127.0.0.1', listening));
const { port } = upstream.address() as AddressInfo;

@Module({
  imports: [
    PoolManagerModule.forRootAsync({
      pools: ['billing', 'orders', 'cache'],
      useFactory: () => ({
        pools: {
          billing: { type: 'http', baseURL: `http://127.0.0.1:${String(port)}`, maxSize: 5 },
          // Nothing listens there: what is not critical does not keep the application from starting.
          orders: { type: 'database', connectionString: 'postgres://nobody@127.0.0.1:1/none', critical: false },
          cache: { type: 'redis', url: 'redis://127.0.0.1:1', critical: false },
        },
      }),
    }),
  ],
  providers: [Invoices],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const invoices = app.get(Invoices);
assert.equal(await invoices.greeting(), 'hello');
assert.equal(invoices.orders, app.get(getPoolToken('orders')));
assert.equal(invoices.manager.getPool('cache'), invoices.cache);
assert.equal(invoices.cache.type, 'redis');
assert.ok(invoices.cache instanceof RedisPool);
await app.close();
upstream.close();
