/** CommonJS with Nest 11: the library comes through require(esm). Boots, uses a pool of its own driver, exits by itself. */
import 'reflect-metadata';
import * as assert from 'node:assert/strict';
import { NestFactory } from '@nestjs/core';
import { ConnectionPoolManager, PoolError, MissingDriverError } from 'nestjs-pool-manager';
import { AppModule, OrdersService } from './orders.service';

async function main(): Promise<void> {
  assert.equal(typeof require('nestjs-pool-manager').PoolManagerModule, 'function');

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const orders = app.get(OrdersService);
  assert.equal(orders.db, app.get(ConnectionPoolManager).getPool('orders'));
  // The driver was found and tried: what failed is the server.
  await assert.rejects(orders.list(), (error) => error instanceof PoolError && !(error instanceof MissingDriverError));
  await app.close();
}

void main();
