import { EventEmitter, once } from 'node:events';
import { Readable } from 'node:stream';

import { describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/internal';
import { defer, firstValueFrom, of } from 'rxjs';

import { PoolConfigError } from '../../lib/errors.js';
import { type BodyOwner, ResponseBodies } from '../../lib/tenancy/handler-output.js';
import { RequestScope } from '../../lib/tenancy/request-scope.js';
import { RequestScopes } from '../../lib/tenancy/request-scopes.js';
import { TenantMiddleware } from '../../lib/tenancy/tenant.middleware.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { TenantGuardInterceptor } from '../../lib/tenancy/tenant-guard.interceptor.js';
import { fromPayload } from '../../lib/tenancy/tenant-resolvers.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { fakePool } from '../support/fakes/fake-pool.js';
import { CollectedLog } from './support/log.js';

class CollectingLogger extends Logger {
  constructor(private readonly collected: CollectedLog) {
    super();
  }

  override error(message: unknown): void {
    this.collected.error(message);
  }

  override warn(message: unknown): void {
    this.collected.warn(message);
  }
}

describe('The scope of a request', () => {
  it('waits only so long for a body that does not let go of what it reads from', async () => {
    const { pool } = fakePool();
    const log = new CollectedLog();
    const clock = new FakeClock();
    const scope = new RequestScope(new CollectingLogger(log), clock);
    const lease = await pool.acquire('acme');
    scope.leases.add(lease);
    let stopped = 0;
    scope.hold(() => stopped++);
    scope.responseOver('sent');
    expect({ stopped, released: lease.released }).toEqual({ stopped: 1, released: false });
    await clock.advance(1_000);
    expect(log.lines).toEqual([{ level: 'error', message: expect.stringContaining('still out') }]);
    expect(lease.released).toBe(true);
  });

  it('reports no body that lets go in time, even if the event loop was blocked', async () => {
    const { pool } = fakePool();
    const log = new CollectedLog();
    const clock = new FakeClock();
    const scope = new RequestScope(new CollectingLogger(log), clock);
    const lease = await pool.acquire('acme');
    scope.leases.add(lease);
    const letGo = scope.hold(() => undefined);
    scope.responseOver('sent');
    clock.block(60_000);
    await clock.unblock(() => {
      lease.release();
      letGo();
    });
    expect([log.lines, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('ends once, whatever comes later', async () => {
    const { pool } = fakePool();
    const log = new CollectedLog();
    const scope = new RequestScope(new CollectingLogger(log));
    scope.leases.add(await pool.acquire('acme'));
    const letGo = scope.hold(() => letGo());
    scope.responseOver('client gone');
    scope.responseOver('sent');
    scope.handlerDone();
    letGo();
    expect(log.lines).toEqual([{ level: 'warn', message: expect.stringContaining('went away') }]);
  });

  it('leaves alone what is leased after its end: that work answers for itself', async () => {
    const { pool } = fakePool();
    const scope = new RequestScope(new CollectingLogger(new CollectedLog()));
    scope.responseOver('sent');
    const lease = await pool.acquire('acme');
    scope.leases.add(lease);
    expect(lease.released).toBe(false);
    lease.release();
  });
});

describe('The scope of a GraphQL operation', () => {
  const graphql = (context: object): ExecutionContextHost => {
    const host = new ExecutionContextHost([{}, {}, context, {}]);
    host.setType('graphql');
    return host;
  };

  it.each([
    ['Apollo on Express', (req: object, res: object) => ({ req: Object.assign(req, { res }) })],
    ['Apollo with a context of its own', (req: object, res: object) => ({ req, res })],
    ['mercurius', (req: object, res: object) => ({ reply: { raw: res, request: { raw: req } } })],
  ])('is one for all its fields and ends with the response of its request: %s', (_, contextOf) => {
    const scopes = new RequestScopes(new TenantContext());
    const response = new EventEmitter();
    const context = contextOf({}, response);
    const first = scopes.of(graphql(context));
    expect(first.endsWithResponse).toBe(true);
    expect(scopes.of(graphql(context)).scope).toBe(first.scope);
    expect(first.scope.over).toBe(false);
    response.emit('finish');
    expect(first.scope.over).toBe(true);
  });

  it('does not lend one field the tenant of another', async () => {
    const tenants = new TenantContext();
    const options = { resolve: fromPayload('tenantId') };
    const guard = new TenantGuardInterceptor(new RequestScopes(tenants), new Reflector(), options);
    const context = { req: { res: new EventEmitter() } };
    const field = async (tenantId: string): Promise<unknown> => {
      const host = new ExecutionContextHost([{}, { tenantId }, context, {}], class Orders {}, () => {});
      host.setType('graphql');
      return firstValueFrom(await guard.intercept(host, { handle: () => defer(() => of(tenants.current())) }));
    };
    expect(await Promise.all([field('acme'), field('globex')])).toEqual(['acme', 'globex']);
    expect(await field('initech')).toBe('initech');
  });

  it('is one for each event of a subscription, which has no response', () => {
    const scopes = new RequestScopes(new TenantContext());
    const context = { req: { extra: { request: {} } } };
    const first = scopes.of(graphql(context));
    expect(first.endsWithResponse).toBe(false);
    expect(scopes.of(graphql(context)).scope).not.toBe(first.scope);
  });
});

describe('A stream that two requests send', () => {
  it('is read as neither of their tenants', async () => {
    const tenants = new TenantContext();
    const bodies = new ResponseBodies();
    const owner = (tenantId: string): BodyOwner => ({
      scope: {},
      run: (step) => tenants.run(tenantId, step),
      translate: (error) => error,
      hold: () => () => {},
    });
    const read: (string | undefined)[] = [];
    const stream = new Readable({
      read() {
        read.push(tenants.current());
        this.push(read.length < 2 ? 'x' : null);
      },
      highWaterMark: 1,
    });
    bodies.bind(stream, owner('acme'));
    stream.read(0);
    bodies.bind(stream, owner('globex'));
    stream.resume();
    await once(stream, 'end');
    expect(read).toEqual(['acme', undefined]);
  });
});

describe('Without tenancy options', () => {
  const scopes = new RequestScopes(new TenantContext());

  it.each([
    ['the interceptor', () => new TenantGuardInterceptor(scopes, new Reflector())],
    ['the middleware', () => new TenantMiddleware(scopes)],
  ])('%s fails when it is created, and says what to set', (_, create) => {
    expect(create).toThrow(PoolConfigError);
    expect(create).toThrow(/tenancy: .*fromHeader/);
  });
});
