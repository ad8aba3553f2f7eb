// What the end of an incoming request does to the outgoing ones that were made on its behalf.
import { once } from 'node:events';
import { Readable } from 'node:stream';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { firstValueFrom } from 'rxjs';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import type { HttpPool } from '../../lib/http/http-pool.js';
import { eventually } from '../support/eventually.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { httpPool, type MadePool } from './support/http-pools.js';

const ways: [string, (pool: HttpPool, config: { responseType?: 'stream' }) => Promise<{ data: unknown }>][] = [
  ['get', (pool, config) => firstValueFrom(pool.get<unknown>('/stream?chunks=50&bytes=20000', config))],
  ['axiosRef', (pool, config) => pool.axiosRef.get<unknown>('/stream?chunks=50&bytes=20000', config)],
  [
    'axiosRef of a view',
    (pool, config) => pool.forTenant('acme').axiosRef.get<unknown>('/stream?chunks=50&bytes=20000', config),
  ],
  [
    "the caller's adapter",
    (pool, config) => pool.axiosRef.get<unknown>('/stream?chunks=50&bytes=20000', { adapter: 'http', ...config }),
  ],
];

describe('The end of a request', () => {
  let server: HttpFixture;
  let made: MadePool;

  beforeEach(async () => {
    server = await startHttpServer();
    made = await httpPool({ baseURL: server.url, maxSize: 1 });
  });

  afterEach(async () => {
    await made[Symbol.asyncDispose]();
    await server.close();
  });

  const inRequest = <T>(scope: LeaseScope, fn: () => T): T =>
    made.tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, fn);

  it.each(ways)('withdraws an outgoing one that still waits: %s', async (_, ask) => {
    const { pool } = made;
    const held = await pool.acquire();
    const scope = new LeaseScope();
    const outcome = inRequest(scope, () => ask(pool, {})).catch((error: unknown) => error);
    await eventually(() => pool.stats().waiting === 1);
    expect(scope.end()).toMatchObject([{ state: 'waiting', tenantId: 'acme' }]);
    expect(await outcome).toMatchObject({ code: 'POOL_REQUEST_ENDED' });
    expect(server.counters.requests).toBe(0);
    held.release();
  });

  it.each(ways)('takes back the slot of a body that is not read to its end: %s', async (_, ask) => {
    const { pool } = made;
    const scope = new LeaseScope();
    const { data } = await inRequest(scope, () => ask(pool, { responseType: 'stream' }));
    if (!(data instanceof Readable)) throw new Error('not a stream');
    const failed = once(data, 'error');
    expect(pool.stats().active).toBe(1);
    expect(scope.end()).toMatchObject([{ state: 'leased', tenantId: 'acme' }]);
    expect(pool.stats().active).toBe(0);
    await failed;
    expect((await pool.axiosRef.get('/stream?chunks=1&bytes=10')).status).toBe(200);
  });

  it('lets one that was sent go on', async () => {
    const { pool } = made;
    const scope = new LeaseScope();
    const answer = inRequest(scope, () => pool.axiosRef.get('/held'));
    await server.waitForHeld(1);
    expect(scope.end()).toEqual([]);
    server.releaseHeld(1);
    expect((await answer).status).toBe(200);
  });
});
