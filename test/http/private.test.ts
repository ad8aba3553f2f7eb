// What a caller gets leads to nothing of another caller: no queue, no socket, no agent, no request.
import http from 'node:http';
import net from 'node:net';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';
import type { AxiosRequestConfig } from 'axios';

import type { HttpFixture } from '../support/servers/index.js';
import type { MadePool } from './support/http-pools.js';
import { CLIENTS, withHttpPool } from './support/with-http-pool.js';

const SECRET = 'secret-of-globex';

/** Everything that own and inherited fields lead to, getters and symbols included. */
function reachable(root: unknown): Set<unknown> {
  const seen = new Set<unknown>();
  const queue = [root];
  for (let value = queue.pop(); queue.length > 0 || value !== undefined; value = queue.pop()) {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue;
    if (ArrayBuffer.isView(value) || value === globalThis || value === process) continue;
    seen.add(value);
    for (const key of Reflect.ownKeys(value)) {
      const field = Object.getOwnPropertyDescriptor(value, key);
      if (field !== undefined && 'value' in field && typeof field.value !== 'function') queue.push(field.value);
    }
  }
  return seen;
}

describe.each(CLIENTS)('over %s', (client) => {
  let server: HttpFixture;
  let made: MadePool;
  withHttpPool(client, (both) => ({ server, made } = both));

  const get = async (config: AxiosRequestConfig): Promise<unknown> =>
    made.pool.forTenant('acme').axiosRef.request(config);
  const THINGS: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['a response', () => get({ url: '/echo' })],
    ['a response without redirects', () => get({ url: '/echo', maxRedirects: 0 })],
    [
      'a response whose progress was watched',
      () => get({ url: '/echo', responseType: 'arraybuffer', onDownloadProgress: () => {} }),
    ],
    [
      'a stream that has been read',
      async () => {
        const response = (await get({ url: '/echo', responseType: 'stream' })) as { data: Readable };
        for await (const _chunk of response.data);
        return response;
      },
    ],
    ['an error with a response', () => get({ url: '/status/404' }).catch((error: unknown) => error)],
    [
      'an error without one',
      () => get({ url: '/hang-up', method: 'post', data: 'x' }).catch((error: unknown) => error),
    ],
    ['a time-out', () => get({ url: '/never', timeout: 30 }).catch((error: unknown) => error)],
    ['the statistics', () => Promise.resolve(made.pool.stats())],
    ['the handle', () => Promise.resolve(made.pool.toJSON())],
    [
      'a lease that is over',
      async () => {
        const lease = await made.pool.forTenant('acme').acquire();
        await lease.connection.get('/echo');
        lease.release();
        return lease.toJSON();
      },
    ],
  ];

  it.each(THINGS)('%s', async (_what, make) => {
    const thing = await make();
    // The slot serves another tenant now, over the same sockets.
    const other = made.pool.forTenant('globex').axiosRef.get('/held', { headers: { authorization: SECRET } });
    await server.waitForHeld(1);
    const found = [...reachable(thing)];
    expect(found.filter((value) => value instanceof net.Socket || value instanceof http.Agent)).toEqual([]);
    expect(found.filter((value) => value instanceof http.ClientRequest)).toEqual([]);
    for (const printed of [inspect(thing, { depth: 12, showHidden: true }), String(thing)])
      expect(printed).not.toContain(SECRET);
    expect(
      JSON.stringify(thing, (_key, value: unknown) => (value instanceof Readable ? 'stream' : value)),
    ).not.toContain(SECRET);
    server.releaseHeld();
    await other;
  });
});
