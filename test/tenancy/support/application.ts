// The application that the expectations are about: every way a handler can answer, over a real pool on a fake driver.
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';

import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  type INestApplication,
  Inject,
  Injectable,
  type MessageEvent,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  Param,
  Post,
  SetMetadata,
  Sse,
  StreamableFile,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core';
import { defer, from, map, mergeMap, Observable } from 'rxjs';

import {
  AcquireTimeoutError,
  BackendUnavailableError,
  PoolClosedError,
  PoolSuspendedError,
  QueueFullError,
  TenantLimitError,
  TenantRequiredError,
} from '../../../lib/errors.js';
import type { ExternalPool } from '../../../lib/external/external-pool.js';
import { InjectPool } from '../../../lib/module/pool-manager.decorators.js';
import { PoolManagerModule } from '../../../lib/module/pool-manager.module.js';
import { getPoolToken } from '../../../lib/module/pool-manager.tokens.js';
import type { TenancyOptions } from '../../../lib/tenancy/tenancy.options.js';
import { CurrentTenant, SkipTenant } from '../../../lib/tenancy/tenant.decorators.js';
import { TenantMiddleware } from '../../../lib/tenancy/tenant.middleware.js';
import { TenantContext } from '../../../lib/tenancy/tenant-context.js';
import { TenantGuardInterceptor } from '../../../lib/tenancy/tenant-guard.interceptor.js';
import { type FakeConnection, FakeDriver } from '../../support/fakes/fake-driver.js';
import { CollectedLog } from './log.js';

/** Chunks large enough that a response has to wait for its client. */
const CHUNK_BYTES = 64 * 1024;
const CHUNKS = 40;

/** A query as Drizzle and Knex build them: it runs when it is awaited. Answers with the tenant that it ran as. */
export function lazyQuery(tenants: TenantContext): PromiseLike<{ current: string | undefined }> {
  const run = async (): Promise<{ current: string | undefined }> => {
    await turn();
    return { current: tenants.current() };
  };
  return { then: (onfulfilled, onrejected) => run().then(onfulfilled, onrejected) };
}

/** What the test and the handlers tell each other. */
@Injectable()
export class Meeting {
  /** Tenants as code saw them that answers to nobody. */
  readonly seen: (string | undefined)[] = [];
  readonly #arrived: (() => void)[] = [];
  #gate: Promise<void> = Promise.resolve();

  /** Resolves for all when `count` have called it. */
  meet(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#arrived.push(resolve);
      if (this.#arrived.length === count) for (const go of this.#arrived.splice(0)) go();
    });
  }

  /** Handlers that pass the gate wait until the returned function is called. */
  shut(): () => void {
    let open = (): void => {};
    this.#gate = new Promise((resolve) => (open = resolve));
    return open;
  }

  pass(): Promise<void> {
    return this.#gate;
  }
}

@Injectable()
class SeeingGuard implements CanActivate {
  constructor(
    @Inject(TenantContext) private readonly tenants: TenantContext,
    @Inject(Meeting) private readonly meeting: Meeting,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    this.meeting.seen.push(this.tenants.current());
    const request = context.switchToHttp().getRequest<{ user?: object; headers: Record<string, string> }>();
    if (request.headers['x-user'] !== undefined) request.user = { org: request.headers['x-user'] };
    return true;
  }
}

const numbers = { active: 2, idle: 0, connecting: 0, waiting: 7, maxSize: 2 };
const timeout = { poolId: 'work', tenantId: 'acme', waitedMs: 10, numbers, oldestHolders: [], tenantInUse: 1 };
const limits = { tenantMax: 1, blockedHolders: 0 };
const secret = new Error('connect ECONNREFUSED db.internal:5432');

const failures: Readonly<Record<string, () => Error>> = {
  'tenant-limit': () =>
    new TenantLimitError('work', {
      inUse: 1,
      max: 1,
      waiting: 3,
      maxWaiting: 3,
      tenantId: 'acme',
      retryAfterMs: 4_200,
    }),
  'tenant-busy': () => new AcquireTimeoutError('tenant', { ...timeout, ...limits, retryAfterMs: 10 }),
  'pool-busy': () => new AcquireTimeoutError('pool', { ...timeout, ...limits, retryAfterMs: 2_000 }),
  'backend-down': () => new BackendUnavailableError('work', 6_000, 3, { cause: secret, retryAfterMs: 1_500 }),
  'backend-timeout': () => new AcquireTimeoutError('backend', { ...timeout, ...limits, cause: secret }),
  'queue-full': () => new QueueFullError('work', 10_000, 10_000),
  closed: () => new PoolClosedError('work'),
  suspended: () => new PoolSuspendedError('work', 100),
  wrapped: () => new Error('Failed query: select 1', { cause: failures['pool-busy']?.() }),
  'own-mistake': () => new TenantRequiredError('work'),
};

@Controller()
@UseInterceptors(TenantGuardInterceptor)
class Routes {
  constructor(
    @Inject(TenantContext) private readonly tenants: TenantContext,
    @InjectPool('work') private readonly pool: ExternalPool<FakeConnection>,
    @Inject(Meeting) private readonly meeting: Meeting,
  ) {}

  @Get('whoami')
  whoami(@CurrentTenant() tenant: string | undefined): object {
    return { tenant, current: this.tenants.current() };
  }

  @SkipTenant()
  @Get('open')
  open(@CurrentTenant() tenant: string | undefined): object {
    return { tenant: tenant ?? null };
  }

  @Get('of/:tenant/path')
  path(): object {
    return { current: this.tenants.current() };
  }

  @Get('meet/:count')
  async meet(@Param('count') count: string): Promise<object> {
    const before = this.tenants.current();
    await this.meeting.meet(Number(count));
    return { before, after: this.tenants.current() };
  }

  @UseGuards(SeeingGuard)
  @Post('guarded')
  guarded(@Body() body: object): object {
    return { body, current: this.tenants.current() };
  }

  @Get('lazy/:as')
  lazy(@Param('as') as: string): unknown {
    const query = lazyQuery(this.tenants);
    if (as === 'async') return (async () => query)();
    if (as === 'observable') return defer(() => query);
    return as === 'inner' ? this.tenants.run('inner', () => query) : query;
  }

  @Get('observable')
  observable(): Observable<object> {
    return defer(() => from(turn())).pipe(
      mergeMap(() => turn()),
      map(() => ({ current: this.tenants.current() })),
    );
  }

  @Get('abandoned')
  abandoned(): Observable<object> {
    return new Observable(() => {
      this.meeting.seen.push('subscribed');
      return () => this.meeting.seen.push(`torn down as ${this.tenants.current() ?? 'nobody'}`);
    });
  }

  @Sse('events')
  events(): Observable<MessageEvent> {
    return from([1, 2, 3]).pipe(
      mergeMap((n) => turn(n)),
      map(() => ({ data: this.tenants.current() ?? 'nobody' })),
    );
  }

  @Get('generator')
  generator(): AsyncGenerator<string> {
    return this.#chunks();
  }

  @Get('file')
  file(): StreamableFile {
    return new StreamableFile(Readable.from(this.#chunks(), { objectMode: false }));
  }

  @Get('readable')
  readable(): Readable {
    return Readable.from(this.#chunks(), { objectMode: false });
  }

  @Get('web-stream')
  webStream(): ReadableStream {
    return this.#webStream();
  }

  @Get('web-response')
  webResponse(): Response {
    return new Response(this.#webStream(), { headers: { 'x-own': 'yes' } });
  }

  @Get('streamed-lease/:as')
  streamedLease(@Param('as') as: string): unknown {
    const rows = this.#leasedChunks();
    if (as === 'generator') return rows;
    const stream = Readable.from(rows, { objectMode: false });
    return as === 'file' ? new StreamableFile(stream) : stream;
  }

  @Get('slow-close')
  async slowClose(): Promise<StreamableFile> {
    const lease = await this.pool.acquire();
    const stream = new Readable({
      read() {
        this.push('row');
        this.push(null);
      },
      // A cursor that tells its server, and gives back its connection when that has answered.
      destroy: (error, done) => {
        void this.meeting.pass().then(() => {
          lease.release();
          done(error);
        });
      },
    });
    return new StreamableFile(stream);
  }

  @Get('fail/:kind')
  fail(@Param('kind') kind: string): never {
    throw this.#failure(kind);
  }

  @Get('fail-later/:as/:kind')
  failLater(@Param('as') as: string, @Param('kind') kind: string): unknown {
    const rows = this.#failing(kind);
    if (as === 'generator') return rows;
    if (as === 'observable') return from(turn()).pipe(map(() => this.fail(kind)));
    return new StreamableFile(Readable.from(rows, { objectMode: false }));
  }

  @Get('busy')
  async busy(): Promise<object> {
    const lease = await this.pool.acquire();
    await this.meeting.pass();
    lease.release();
    return { done: true };
  }

  @Get('waits')
  waits(): object {
    for (const wait of [this.pool.acquire(), this.pool.use(() => 'never')]) {
      wait.catch((error: Error) => this.meeting.seen.push(error.name));
    }
    void this.tenants
      .runDetached('acme', () => this.pool.use((_, lease) => lease.tenantId))
      .then((tenant) => this.meeting.seen.push(`outlived the request as ${tenant}`));
    return {};
  }

  @Get('forgets')
  async forgets(): Promise<object> {
    const { connection } = await this.pool.acquire();
    return { connection: connection.serial };
  }

  @Get('detaches')
  async detaches(): Promise<object> {
    const lease = (await this.pool.acquire()).detach();
    void this.meeting.pass().then(() => {
      this.meeting.seen.push(lease.released ? 'cut' : 'still mine');
      lease.release();
    });
    return {};
  }

  @Get('hangs')
  async hangs(): Promise<object> {
    await this.pool.acquire();
    this.meeting.seen.push('hanging');
    return new Promise(() => {});
  }

  async *#chunks(): AsyncGenerator<string> {
    try {
      for (let n = 0; n < CHUNKS; n++) {
        await turn();
        yield (this.tenants.current() ?? 'nobody').padEnd(CHUNK_BYTES - 1) + '\n';
      }
    } finally {
      this.meeting.seen.push(`generator ended as ${this.tenants.current() ?? 'nobody'}`);
    }
  }

  async *#leasedChunks(): AsyncGenerator<string> {
    const lease = await this.pool.acquire();
    try {
      for (;;) {
        await this.meeting.pass();
        yield (lease.tenantId ?? 'nobody').padEnd(CHUNK_BYTES - 1) + '\n';
        if (this.meeting.seen.includes('enough')) return;
      }
    } finally {
      lease.release();
    }
  }

  async *#failing(kind: string): AsyncGenerator<string> {
    await turn();
    if (kind !== 'never') throw this.#failure(kind);
    yield '';
  }

  #webStream(): ReadableStream {
    const rows = this.#chunks();
    // Read only when somebody asks, so that each step begins with whoever asks.
    return new ReadableStream(
      {
        pull: async (controller) => {
          const row = await rows.next();
          if (row.done) controller.close();
          else controller.enqueue(Buffer.from(row.value));
        },
        cancel: async () => {
          await rows.return(undefined);
        },
      },
      { highWaterMark: 0 },
    );
  }

  #failure(kind: string): Error {
    return failures[kind]?.() ?? new Error(`no failure "${kind}"`);
  }
}

/** Routes that no interceptor of ours knows of. */
@Controller('plain')
class PlainRoutes {
  constructor(@Inject(TenantContext) private readonly tenants: TenantContext) {}

  @SetMetadata('plain', true)
  @Get()
  plain(): object {
    return { current: this.tenants.current() ?? null };
  }
}

export interface Running {
  readonly app: INestApplication;
  readonly url: string;
  readonly driver: FakeDriver;
  readonly pool: ExternalPool<FakeConnection>;
  readonly meeting: Meeting;
  readonly log: CollectedLog;
}

export interface ApplicationSettings {
  readonly tenancy: TenancyOptions;
  readonly middleware?: boolean;
  readonly pool?: object;
}

/** Starts the application on a free port. */
export async function start(adapter: AbstractHttpAdapter, settings: ApplicationSettings): Promise<Running> {
  const driver = new FakeDriver();
  const log = new CollectedLog();

  @Module({
    imports: [
      PoolManagerModule.forRoot({
        pools: { work: { type: 'external', driver, maxSize: 2, ...settings.pool } },
        tenancy: settings.tenancy,
      }),
    ],
    controllers: [Routes, PlainRoutes],
    providers: [Meeting],
  })
  class Application implements NestModule {
    configure(consumer: MiddlewareConsumer): void {
      if (settings.middleware) consumer.apply(TenantMiddleware).forRoutes('{*path}');
    }
  }

  const app = await NestFactory.create(Application, adapter, { logger: log });
  await app.listen(0, '127.0.0.1');
  return {
    app,
    url: await app.getUrl(),
    driver,
    pool: app.get<ExternalPool<FakeConnection>>(getPoolToken('work')),
    meeting: app.get(Meeting),
    log,
  };
}
