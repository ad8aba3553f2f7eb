// BullMQ as Nest applications use it, on the shared client of a pool, while the application closes.
import { EventEmitter, once } from 'node:events';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BullModule, getQueueToken, Processor, WorkerHost } from '@nestjs/bullmq';
import { type DynamicModule, type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Queue } from 'bullmq';

import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { getPoolToken } from '../../lib/module/pool-manager.tokens.js';
import type { RedisPool } from '../../lib/redis/redis-pool.js';
import { LogBook } from '../support/log-book.js';
import { type RedisServer, startRedis } from '../support/servers/index.js';

describe('a job that runs while the application closes', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  it.each(['before', 'after'])(
    'is finished, and not run again: the pool module imported %s that of the queue',
    async (order) => {
      const name = `jobs-${order}`;
      let runs = 0;
      const job = new EventEmitter();
      const started = once(job, 'started');
      const mayFinish = once(job, 'may finish');

      @Processor(name)
      class Jobs extends WorkerHost {
        override async process(): Promise<string> {
          runs++;
          job.emit('started');
          await mayFinish;
          return 'done';
        }
      }

      const create = (): Promise<INestApplicationContext> => {
        const pools = PoolManagerModule.forRoot({ pools: { cache: { type: 'redis', url: server.url } } });
        const bull: DynamicModule[] = [
          BullModule.forRootAsync({
            inject: [getPoolToken('cache')],
            useFactory: (pool: RedisPool) => ({ connection: pool.client }),
          }),
          BullModule.registerQueue({ name }),
        ];

        @Module({ imports: order === 'before' ? [pools, ...bull] : [...bull, pools], providers: [Jobs] })
        class App {}
        return NestFactory.createApplicationContext(App, { logger: new LogBook() });
      };

      const first = await create();
      const queue = first.get<Queue>(getQueueToken(name));
      await queue.add('one', {});
      await started;
      const manager = first.get(ConnectionPoolManager);
      const closed = first.close();
      job.emit('may finish');
      await closed;
      expect(await manager.stop()).toMatchObject({ clean: true });

      const second = await create();
      const counts = await second
        .get<Queue>(getQueueToken(name))
        .getJobCounts('completed', 'active', 'waiting', 'failed');
      expect(counts).toEqual({ completed: 1, active: 0, waiting: 0, failed: 0 });
      await second.close();
      expect(runs).toBe(1);
    },
  );
});
