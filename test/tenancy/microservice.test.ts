// Messages over a real TCP microservice.
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice, Inject, Module, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  type ClientProxy,
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  Transport,
} from '@nestjs/microservices';
import { firstValueFrom, from, map, mergeMap, Observable, toArray } from 'rxjs';

import { AcquireTimeoutError, BackendUnavailableError, TenantLimitError } from '../../lib/errors.js';
import type { ExternalPool } from '../../lib/external/external-pool.js';
import { InjectPool } from '../../lib/module/pool-manager.decorators.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { getPoolToken } from '../../lib/module/pool-manager.tokens.js';
import { CurrentTenant, SkipTenant } from '../../lib/tenancy/tenant.decorators.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { TenantGuardInterceptor } from '../../lib/tenancy/tenant-guard.interceptor.js';
import { fromHeader, fromPayload } from '../../lib/tenancy/tenant-resolvers.js';
import { eventually } from '../support/eventually.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { freePort } from '../support/servers/index.js';
import { lazyQuery, Meeting } from './support/application.js';
import { CollectedLog } from './support/log.js';

const header = fromHeader('x-tenant-id');
const payload = fromPayload('tenantId');

const failures: Readonly<Record<string, () => Error>> = {
  limit: () => new TenantLimitError('work', { inUse: 1, max: 1, waiting: 0, maxWaiting: 0, retryAfterMs: 2_001 }),
  down: () => new BackendUnavailableError('work', 6_000, 3, { cause: new Error('db.internal refused') }),
  busy: () =>
    new AcquireTimeoutError('pool', {
      poolId: 'work',
      waitedMs: 1,
      numbers: { active: 1, idle: 0, connecting: 0, waiting: 0, maxSize: 1 },
      oldestHolders: [],
      tenantInUse: 0,
      tenantMax: 1,
      blockedHolders: 0,
    }),
  other: () => new Error('db.internal'),
};

@Controller()
@UseInterceptors(TenantGuardInterceptor)
class Messages {
  constructor(
    @Inject(TenantContext) private readonly tenants: TenantContext,
    @InjectPool('work') private readonly pool: ExternalPool<FakeConnection>,
    @Inject(Meeting) private readonly meeting: Meeting,
  ) {}

  @MessagePattern('whoami')
  whoami(@Payload() _: object, @CurrentTenant() tenant: string | undefined): object {
    return { tenant, current: this.tenants.current() };
  }

  @SkipTenant()
  @MessagePattern('open')
  open(): object {
    return { current: this.tenants.current() ?? null };
  }

  @MessagePattern('meet')
  async meet(@Payload('count') count: number): Promise<object> {
    await this.meeting.meet(count);
    return { current: this.tenants.current() };
  }

  @MessagePattern('lazy')
  lazy(): unknown {
    return lazyQuery(this.tenants);
  }

  @MessagePattern('stream')
  stream(): Observable<string | undefined> {
    return from([1, 2, 3]).pipe(
      mergeMap((n) => turn(n)),
      map(() => this.tenants.current()),
    );
  }

  @MessagePattern('leased-stream')
  async leasedStream(): Promise<Observable<number>> {
    await this.pool.acquire();
    return from([1, 2]).pipe(
      mergeMap(async (n) => {
        await this.meeting.pass();
        return n;
      }),
    );
  }

  @EventPattern('event')
  async event(@Payload() _: object): Promise<void> {
    await this.pool.acquire();
    this.meeting.seen.push(this.tenants.current());
  }

  @MessagePattern('fail')
  fail(@Payload('kind') kind: string): never {
    throw failures[kind]?.() ?? new Error(kind);
  }
}

describe('Tenants of a TCP microservice', () => {
  let app: INestMicroservice;
  let driver: FakeDriver;
  let client: ClientProxy;
  let log: CollectedLog;
  let pool: ExternalPool<FakeConnection>;
  let meeting: Meeting;

  beforeEach(async () => {
    driver = new FakeDriver();
    log = new CollectedLog();

    @Module({
      imports: [
        PoolManagerModule.forRoot({
          pools: { work: { type: 'external', driver, maxSize: 2 } },
          tenancy: { resolve: (context) => header(context) ?? payload(context) },
        }),
      ],
      controllers: [Messages],
      providers: [Meeting],
    })
    class Application {}

    const port = await freePort();
    const options = { host: '127.0.0.1', port };
    app = await NestFactory.createMicroservice<MicroserviceOptions>(Application, {
      transport: Transport.TCP,
      options,
      logger: log,
    });
    await app.listen();
    pool = app.get(getPoolToken('work'));
    meeting = app.get(Meeting);
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
  });

  afterEach(async () => {
    await client.close();
    await app.close();
  });

  const ask = (pattern: string, data: object): Promise<unknown> => firstValueFrom(client.send<unknown>(pattern, data));

  it('finds the tenant in the payload', async () => {
    expect(await ask('whoami', { tenantId: 'acme' })).toEqual({ tenant: 'acme', current: 'acme' });
  });

  it('finds the tenant in the metadata of the message', async () => {
    client.setOnDispatchHook((packet) => Object.assign(packet, { metadata: { 'X-Tenant-Id': 'acme' } }));
    expect(await ask('whoami', {})).toEqual({ tenant: 'acme', current: 'acme' });
  });

  it.each([
    ['none', {}, 'no tenant'],
    ['one that is no text', { tenantId: 7 }, 'malformed'],
    ['one with a control character', { tenantId: 'ac\u0000me' }, 'malformed'],
  ])('refuses a message with %s', async (_, data, message) => {
    await expect(ask('whoami', data)).rejects.toEqual({
      status: 'error',
      statusCode: 400,
      error: 'Bad Request',
      message: expect.stringContaining(message),
    });
  });

  it('needs none for a handler with @SkipTenant()', async () => {
    expect(await ask('open', {})).toEqual({ current: null });
    expect(await ask('open', { tenantId: 'acme' })).toEqual({ current: null });
  });

  it('never shows one of many interleaved messages on one connection the tenant of another', async () => {
    const tenants = Array.from({ length: 10 }, (_, n) => `tenant-${n}`);
    const answers = await Promise.all(tenants.map((tenantId) => ask('meet', { tenantId, count: tenants.length })));
    expect(answers).toEqual(tenants.map((current) => ({ current })));
  });

  it('keeps it for a query that runs when it is awaited', async () => {
    expect(await ask('lazy', { tenantId: 'acme' })).toEqual({ current: 'acme' });
  });

  it('keeps it through an Observable', async () => {
    const answers = client.send<string>('stream', { tenantId: 'acme' }).pipe(toArray());
    expect(await firstValueFrom(answers)).toEqual(['acme', 'acme', 'acme']);
  });

  it.each([
    ['limit', { statusCode: 429, error: 'Too Many Requests', retryAfter: 3 }],
    ['busy', { statusCode: 503, error: 'Service Unavailable', retryAfter: 1 }],
    ['down', { statusCode: 503, error: 'Service Unavailable', retryAfter: 1 }],
  ])('answers for a pool: %s', async (kind, answer) => {
    await expect(ask('fail', { tenantId: 'acme', kind })).rejects.toEqual({
      status: 'error',
      message: expect.not.stringContaining('db.internal'),
      ...answer,
    });
  });

  it("leaves other errors to Nest's filters", async () => {
    await expect(ask('fail', { tenantId: 'acme', kind: 'other' })).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });

  it('ends the scope when the Observable of the handler has completed, and not before', async () => {
    const goOn = meeting.shut();
    const answers = firstValueFrom(client.send<number>('leased-stream', { tenantId: 'acme' }).pipe(toArray()));
    await eventually(() => pool.stats().active === 1);
    expect(log.lines.filter((line) => line.message.includes('lease'))).toEqual([]);
    goOn();
    expect(await answers).toEqual([1, 2]);
    expect((await log.line('still out')).message).toContain('Messages.leasedStream');
    expect(driver.opened[0]?.state).toBe('killed');
  });

  it('ends the scope of an event when its handler is done', async () => {
    await firstValueFrom(client.emit('event', { tenantId: 'acme' }), { defaultValue: undefined });
    expect((await log.line('still out')).message).toContain('Messages.event');
    expect(meeting.seen).toEqual(['acme']);
  });
});
