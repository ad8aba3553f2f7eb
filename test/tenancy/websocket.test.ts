// Messages over a real WebSocket (socket.io).
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type INestApplication, Inject, Module, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { defer, from, map, mergeMap, type Observable } from 'rxjs';
import { io, type Socket } from 'socket.io-client';

import { TenantLimitError } from '../../lib/errors.js';
import type { ExternalPool } from '../../lib/external/external-pool.js';
import { InjectPool } from '../../lib/module/pool-manager.decorators.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { CurrentTenant } from '../../lib/tenancy/tenant.decorators.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { TenantGuardInterceptor } from '../../lib/tenancy/tenant-guard.interceptor.js';
import { fromHeader, fromPayload } from '../../lib/tenancy/tenant-resolvers.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { lazyQuery } from './support/application.js';
import { CollectedLog } from './support/log.js';

const header = fromHeader('x-tenant-id');
const payload = fromPayload('tenantId');

@WebSocketGateway()
@UseInterceptors(TenantGuardInterceptor)
class Gateway {
  constructor(
    @Inject(TenantContext) private readonly tenants: TenantContext,
    @InjectPool('work') private readonly pool: ExternalPool<FakeConnection>,
  ) {}

  @SubscribeMessage('whoami')
  whoami(@MessageBody() _: object, @CurrentTenant() tenant: string): object {
    return { event: 'answer', data: { tenant, current: this.tenants.current() } };
  }

  @SubscribeMessage('lazy')
  async lazy(): Promise<object> {
    return { event: 'answer', data: await lazyQuery(this.tenants) };
  }

  @SubscribeMessage('lazier')
  lazier(): unknown {
    return defer(() => lazyQuery(this.tenants)).pipe(map((data) => ({ event: 'answer', data })));
  }

  @SubscribeMessage('stream')
  stream(): Observable<object> {
    return from([1, 2]).pipe(
      mergeMap(async (n) => Promise.resolve(n)),
      map((n) => ({ event: 'answer', data: { n, current: this.tenants.current() } })),
    );
  }

  @SubscribeMessage('fail')
  fail(): never {
    throw new TenantLimitError('work', { inUse: 1, max: 1, waiting: 0, maxWaiting: 0, retryAfterMs: 1_001 });
  }

  @SubscribeMessage('forgets')
  async forgets(): Promise<object> {
    await this.pool.acquire();
    return { event: 'answer', data: 'done' };
  }
}

describe('Tenants of a WebSocket', () => {
  let app: INestApplication;
  let log: CollectedLog;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    log = new CollectedLog();
    @Module({
      imports: [
        PoolManagerModule.forRoot({
          pools: { work: { type: 'external', driver: new FakeDriver() } },
          tenancy: { resolve: (context) => payload(context) ?? header(context) },
        }),
      ],
      providers: [Gateway],
    })
    class Application {}
    app = await NestFactory.create(Application, new ExpressAdapter(), { logger: log });
    await app.listen(0, '127.0.0.1');
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.disconnect();
    await app.close();
  });

  async function connect(headers: Record<string, string> = {}): Promise<Socket> {
    const socket = io(await app.getUrl(), { transports: ['websocket'], extraHeaders: headers, reconnection: false });
    sockets.push(socket);
    await new Promise((resolve) => socket.once('connect', () => resolve(undefined)));
    return socket;
  }

  async function ask(socket: Socket, message: string, data: object, answer = 'answer'): Promise<unknown> {
    const answered = new Promise((resolve) => socket.once(answer, resolve));
    socket.emit(message, data);
    return answered;
  }

  it('finds the tenant in the headers of the handshake', async () => {
    const socket = await connect({ 'X-Tenant-Id': 'acme' });
    expect(await ask(socket, 'whoami', {})).toEqual({ tenant: 'acme', current: 'acme' });
  });

  it('finds the tenant in the data, which may be another one in each message', async () => {
    const socket = await connect();
    expect(await ask(socket, 'whoami', { tenantId: 'acme' })).toEqual({ tenant: 'acme', current: 'acme' });
    expect(await ask(socket, 'whoami', { tenantId: 'globex' })).toEqual({ tenant: 'globex', current: 'globex' });
  });

  it('refuses a message without a tenant', async () => {
    const socket = await connect();
    expect(await ask(socket, 'whoami', {}, 'exception')).toMatchObject({ statusCode: 400, error: 'Bad Request' });
  });

  it.each(['lazy', 'lazier'])('keeps it for a query that runs when it is awaited: %s', async (message) => {
    const socket = await connect({ 'X-Tenant-Id': 'acme' });
    expect(await ask(socket, message, {})).toEqual({ current: 'acme' });
  });

  it('keeps it through an Observable', async () => {
    const socket = await connect({ 'X-Tenant-Id': 'acme' });
    const answers: unknown[] = [];
    const both = new Promise((resolve) => {
      socket.on('answer', (answer) => {
        if (answers.push(answer) === 2) resolve(undefined);
      });
    });
    socket.emit('stream', {});
    await both;
    expect(answers).toEqual([
      { n: 1, current: 'acme' },
      { n: 2, current: 'acme' },
    ]);
  });

  it('answers for a pool', async () => {
    const socket = await connect({ 'X-Tenant-Id': 'acme' });
    expect(await ask(socket, 'fail', {}, 'exception')).toMatchObject({ statusCode: 429, retryAfter: 2 });
  });

  it('ends the scope of a message when its handler is done', async () => {
    const socket = await connect({ 'X-Tenant-Id': 'acme' });
    expect(await ask(socket, 'forgets', {})).toBe('done');
    expect((await log.line('still out')).message).toContain('Gateway.forgets');
  });
});
