// What other modules may still do with the pools in their own shutdown hooks, whatever the order of imports.
import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, it } from '@jest/globals';
import {
  type DynamicModule,
  Global,
  type INestApplicationContext,
  Inject,
  Injectable,
  Module,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { LazyModuleLoader, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';

import type { ExternalPool } from '../../lib/external/external-pool.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { getPoolToken } from '../../lib/module/pool-manager.tokens.js';
import { eventually } from '../support/eventually.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const HOOKS = ['onModuleDestroy', 'beforeApplicationShutdown', 'onApplicationShutdown'] as const;
const ALL = HOOKS.map((hook) => `${hook}: served`);

type Work = (pool: ExternalPool<FakeConnection>, hook: (typeof HOOKS)[number]) => Promise<unknown>;

/** A pool used over several turns of the event loop, as by a worker that finishes its jobs. */
const finishJobs: Work = async (pool) => {
  for (let job = 0; job < 3; job++) {
    await turn();
    await pool.use(() => turn());
  }
};

const logger = new LogBook();
const pools = (drainTimeoutMs = 5_000): DynamicModule =>
  PoolManagerModule.forRoot({
    pools: { work: { type: 'external', driver: new FakeDriver(), maxSize: 2 } },
    shutdown: { drainTimeoutMs },
  });

/** A provider that uses the pool in each of its hooks, and what came of it. */
function worker(work: Work = finishJobs): { readonly Worker: Type; readonly seen: string[] } {
  const seen: string[] = [];

  @Injectable()
  class Worker {
    constructor(@Inject(getPoolToken('work')) private readonly pool: ExternalPool<FakeConnection>) {}

    async onModuleInit(): Promise<void> {
      await this.pool.use(() => turn());
    }

    onModuleDestroy = (): Promise<void> => this.#use('onModuleDestroy');
    beforeApplicationShutdown = (): Promise<void> => this.#use('beforeApplicationShutdown');
    onApplicationShutdown = (): Promise<void> => this.#use('onApplicationShutdown');

    async #use(hook: (typeof HOOKS)[number]): Promise<void> {
      try {
        await work(this.pool, hook);
        seen.push(`${hook}: served`);
      } catch (error) {
        seen.push(`${hook}: ${error instanceof Error ? error.name : String(error)}`);
        throw error;
      }
    }
  }
  return { Worker, seen };
}

async function create(metadata: ModuleMetadata): Promise<INestApplicationContext> {
  @Module(metadata)
  class Root {}
  return NestFactory.createApplicationContext(Root, { logger });
}

const forms: [string, (Worker: Type) => Type | DynamicModule][] = [
  [
    'an ordinary module',
    (Worker) => {
      @Module({ providers: [Worker] })
      class Plain {}
      return Plain;
    },
  ],
  [
    'a global module',
    (Worker) => {
      @Global()
      @Module({ providers: [Worker] })
      class Everywhere {}
      return Everywhere;
    },
  ],
  [
    'a dynamic module that is global',
    (Worker) => {
      class Dynamic {}
      return { module: Dynamic, global: true, providers: [Worker] };
    },
  ],
  [
    'a module deep below others',
    (Worker) => {
      @Module({ providers: [Worker] })
      class Deepest {}
      @Module({ imports: [Deepest] })
      class Deeper {}
      @Module({ imports: [Deeper] })
      class Deep {}
      return Deep;
    },
  ],
];

describe.each(forms)('The shutdown hooks of %s', (_, moduleOf) => {
  it.each([
    ['before', (pool: DynamicModule, module: Type | DynamicModule) => [module, pool]],
    ['after', (pool: DynamicModule, module: Type | DynamicModule) => [pool, module]],
  ])('have the pools to their end, imported %s them', async (_order, imports) => {
    const { Worker, seen } = worker();
    const app = await create({ imports: imports(pools(), moduleOf(Worker)) });
    const manager = app.get(ConnectionPoolManager);
    await app.close();
    expect(seen).toEqual(ALL);
    expect(await manager.stop()).toMatchObject({ clean: true, pools: [{ poolId: 'work', cut: 0, refused: 0 }] });
    expect(manager.getPool('work').status).toBe('closed');
  });
});

describe('Shutdown hooks', () => {
  it('of the root module itself have the pools, in an application with a server', async () => {
    const { Worker, seen } = worker();
    @Module({ imports: [pools()], providers: [Worker] })
    class Root {}
    const app = await NestFactory.create(Root, new ExpressAdapter(), { logger });
    await app.listen(0, '127.0.0.1');
    await app.close();
    expect(seen).toEqual(ALL);
  });

  it('have the pools of two registrations', async () => {
    const { Worker, seen } = worker();
    const other = PoolManagerModule.forRoot({
      name: 'reporting',
      pools: { reports: { type: 'external', driver: new FakeDriver() } },
    });
    @Global()
    @Module({ providers: [Worker] })
    class Everywhere {}
    const app = await create({ imports: [Everywhere, other, pools()] });
    await app.close();
    expect(seen).toEqual(ALL);
  });

  it('run with the pools already not ready, from the first one on', async () => {
    const ready: boolean[] = [];
    const { Worker } = worker(async () => ready.push((await manager.healthCheck()).ready));
    const app = await create({ imports: [pools()], providers: [Worker] });
    const manager = app.get(ConnectionPoolManager);
    expect((await manager.healthCheck()).ready).toBe(true);
    await app.close();
    expect(ready).toEqual([false, false, false]);
  });

  it.each(HOOKS)('that reject don’t keep the pools from closing: %s', async (failing) => {
    const { Worker, seen } = worker(async (pool, hook) => {
      await finishJobs(pool, hook);
      if (hook === failing) throw new TypeError('no');
    });
    const app = await create({ imports: [pools()], providers: [Worker] });
    const manager = app.get(ConnectionPoolManager);
    // Nest 12 goes on after a hook that rejects, Nest 11 ends there.
    await app.close().catch((error: unknown) => expect(error).toBeInstanceOf(TypeError));
    expect(seen).toContain(`${failing}: TypeError`);
    await eventually(() => manager.getPool('work').status === 'closed');
  });

  it.each(HOOKS)('that wait for a slot in vain end at the drain deadline: %s', async (hanging) => {
    const { Worker, seen } = worker(async (pool, hook) => {
      if (hook === hanging) await pool.acquire({ timeoutMs: 60_000 });
    });
    const app = await create({ imports: [pools(20)], providers: [Worker] });
    const pool = app.get<ExternalPool<FakeConnection>>(getPoolToken('work'));
    const held = [await pool.acquire(), await pool.acquire()];
    await app.close();
    expect(seen).toContain(`${hanging}: PoolClosedError`);
    expect(held.map(({ released }) => released)).toEqual([true, true]);
    expect(pool.status).toBe('closed');
  });

  it.each(HOOKS)('that never settle don’t keep the pools from closing by the deadline: %s', async (hanging) => {
    let goOn: () => void = () => undefined;
    const { Worker } = worker(
      (_, hook) => new Promise<void>((resolve) => (hook === hanging ? (goOn = resolve) : resolve())),
    );
    const app = await create({ imports: [pools(20)], providers: [Worker] });
    const pool = app.get<ExternalPool<FakeConnection>>(getPoolToken('work'));
    let finished = false;
    const closing = app.close().then(() => (finished = true));
    await eventually(() => pool.status === 'closed');
    expect(finished).toBe(false);
    goOn();
    await closing;
  });

  it('of a module that is loaded late are not called by Nest, and the pools that it uses close all the same', async () => {
    const { Worker, seen } = worker();
    const app = await create({ imports: [pools()] });
    @Module({ providers: [Worker] })
    class Late {}
    const late = await app.get(LazyModuleLoader).load(() => Late);
    const pool = app.get<ExternalPool<FakeConnection>>(getPoolToken('work'));
    expect(late.get<object>(Worker)).toMatchObject({ pool });
    await app.close();
    expect(seen).toEqual([]);
    expect(pool.status).toBe('closed');
  });

  it('are called once where the application is closed twice at once', async () => {
    const { Worker, seen } = worker();
    const app = await create({ imports: [pools()], providers: [Worker] });
    await Promise.all([app.close(), app.close()]);
    await app.close();
    expect(seen.slice(0, 3)).toEqual(ALL);
  });
});

describe('Start hooks', () => {
  it('find the pools open, of a global module imported before them too', async () => {
    const { Worker } = worker();
    @Global()
    @Module({ providers: [Worker] })
    class Everywhere {}
    const statuses: string[] = [];
    @Injectable()
    class Watcher {
      constructor(@Inject(getPoolToken('work')) private readonly pool: ExternalPool<FakeConnection>) {}
      onModuleInit(): void {
        statuses.push(this.pool.status);
      }
    }
    @Global()
    @Module({ providers: [Watcher] })
    class First {}
    const app = await create({ imports: [First, Everywhere, pools()] });
    await app.close();
    expect(statuses).toEqual(['healthy']);
  });
});
