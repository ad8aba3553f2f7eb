// One server and one pool of one slot for the tests of a block.
import { afterAll, beforeAll } from '@jest/globals';

import { type HttpFixture, startHttpServer } from '../../support/servers/index.js';
import { httpPool, type MadePool } from './http-pools.js';

/** The two clients that a pool sends requests with. */
export const CLIENTS = ['undici', "Node's client"] as const;

/**
 * Starts both before the first test, and ends them after the last. The server redirects `/to-echo` to `/echo`.
 *
 * @param client which the pool's requests go over.
 */
export function withHttpPool(
  client: (typeof CLIENTS)[number],
  given: (both: { readonly server: HttpFixture; readonly made: MadePool }) => void,
): void {
  let server: HttpFixture;
  let made: MadePool;
  beforeAll(async () => {
    server = await startHttpServer({
      handler: (request, response) => {
        if (request.url !== '/to-echo') return false;
        response.writeHead(302, { location: '/echo' }).end();
        return true;
      },
    });
    made = await httpPool({ baseURL: server.url, maxSize: 1 });
    // An option that only Node's client has.
    if (client !== 'undici') made.pool.axiosRef.defaults.family = 4;
    given({ server, made });
  });
  afterAll(async () => {
    await made[Symbol.asyncDispose]();
    await server.close();
  });
}
