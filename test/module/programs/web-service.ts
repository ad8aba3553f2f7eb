/**
 * A web service in a process of its own, to be restarted under load. Prints its URL when it is up.
 *
 * Environment: `PLATFORM`: `express` or `fastify`; `GRACE_MS`: its `readinessGraceMs`.
 */
import 'reflect-metadata';

import { setImmediate as turn } from 'node:timers/promises';

import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

import { PoolManagerModule } from '../../../lib/index.js';

@Controller()
class WorkController {
  @Get()
  async work(): Promise<object> {
    await turn();
    return { done: true };
  }
}

@Module({
  imports: [PoolManagerModule.forRoot({ pools: {}, shutdown: { readinessGraceMs: Number(process.env.GRACE_MS) } })],
  controllers: [WorkController],
})
class AppModule {}

const adapter = process.env.PLATFORM === 'fastify' ? new FastifyAdapter() : new ExpressAdapter();
const app = await NestFactory.create(AppModule, adapter, { logger: ['error', 'warn'] });
app.enableShutdownHooks(undefined, { useProcessExit: true });
await app.listen(0, '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
