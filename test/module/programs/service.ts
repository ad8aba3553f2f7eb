/**
 * A service in a process of its own, to be shut down by signals. Prints its URL when it is up.
 *
 * Environment: `DATABASE_URL`; `USE_PROCESS_EXIT=1` and `LOG=json` for Nest's options of these names.
 */
import 'reflect-metadata';

import { ConsoleLogger, Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

import { InjectPool, PoolHealthModule, PoolManagerModule, type PostgresPool } from '../../../lib/index.js';

@Controller()
class WorkController {
  constructor(@InjectPool('orders') private readonly pool: PostgresPool) {}

  @Get('work')
  async work(): Promise<string> {
    console.log('working');
    await this.pool.query('select pg_sleep(0.5)');
    return 'done';
  }

  @Get('hung')
  async hung(): Promise<never> {
    await this.pool.acquire();
    console.log('hanging');
    return new Promise(() => undefined);
  }
}

@Module({
  imports: [
    PoolManagerModule.forRoot({
      pools: { orders: { type: 'database', maxSize: 2 } },
      shutdown: { drainTimeoutMs: 1_500 },
    }),
    PoolHealthModule,
  ],
  controllers: [WorkController],
})
class AppModule {}

const app = await NestFactory.create(AppModule, {
  logger: new ConsoleLogger({ json: process.env.LOG === 'json', colors: false }),
});
app.enableShutdownHooks(undefined, { useProcessExit: process.env.USE_PROCESS_EXIT === '1' });
await app.listen(0, '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
