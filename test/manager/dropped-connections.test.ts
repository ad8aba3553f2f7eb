/**
 * A server that lets connections in and drops them at once is met by one connect at a time, with a pause after each.
 * The clock stands still, so that a connect without a pause shows as a connect too many.
 */
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, describe, expect, it } from '@jest/globals';

import { createHttpPool } from '../../lib/http/create-http-pool.js';
import { parseHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import type { PoolDependencies, PoolHandle } from '../../lib/pool/pool-handle.js';
import { createPostgresPool } from '../../lib/postgres/create-postgres-pool.js';
import { parsePostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createRedisPool } from '../../lib/redis/create-redis-pool.js';
import { parseRedisPoolOptions } from '../../lib/redis/redis-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { LogBook } from '../support/log-book.js';
import { serverMessage } from '../support/servers/message-proxy.js';

/** AuthenticationOk, a key to cancel by, ReadyForQuery. */
const POSTGRES_GREETING = Buffer.concat([
  serverMessage('R', Buffer.alloc(4)),
  serverMessage('K', Buffer.alloc(8, 1)),
  serverMessage('Z', 'I'),
]);

interface Kind {
  readonly create: (port: number, dependencies: PoolDependencies) => Promise<PoolHandle>;
  /** What the server answers before it drops the connection; undefined: it drops it as it comes. */
  readonly answer?: Buffer;
  /** ioredis makes the connects of the shared client, and paces them by real time. */
  readonly isPacedElsewhere?: boolean;
}

const KINDS: readonly [name: string, kind: Kind][] = [
  [
    'PostgreSQL',
    {
      create: (port, dependencies) =>
        createPostgresPool(
          'pool',
          parsePostgresPoolOptions(
            'pool',
            { connectionString: `postgres://user@127.0.0.1:${port}/db`, minSize: 1 },
            {},
          ),
          dependencies,
        ),
      answer: POSTGRES_GREETING,
    },
  ],
  [
    'Redis',
    {
      create: (port, dependencies) =>
        createRedisPool(
          'pool',
          parseRedisPoolOptions(
            'pool',
            { url: `redis://127.0.0.1:${port}`, minSize: 1, client: { enableReadyCheck: false } },
            {},
          ),
          dependencies,
        ),
      // As many as a handshake can have commands.
      answer: Buffer.from('+OK\r\n'.repeat(8)),
      isPacedElsewhere: true,
    },
  ],
  [
    'the upstream of an HTTP pool',
    {
      create: (port, dependencies) =>
        createHttpPool('pool', parseHttpPoolOptions('pool', { baseURL: `http://127.0.0.1:${port}` }), dependencies),
    },
  ],
];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A server that drops every connection: with its first words, or at once. */
async function droppingServer(answer: Buffer | undefined) {
  const counts = { accepted: 0 };
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    counts.accepted++;
    sockets.add(socket);
    socket.on('error', () => {});
    if (answer === undefined) return void socket.destroy();
    socket.once('data', () => socket.end(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: (server.address() as AddressInfo).port, counts };
}

describe.each(KINDS)(
  'connections to %s that are dropped as soon as they are open',
  (_name, { create, answer, isPacedElsewhere }) => {
    it('are followed by a pause each, and change the status no more often than they are made', async () => {
      const { port, counts } = await droppingServer(answer);
      const clock = new FakeClock();
      const pool = await create(port, {
        tenants: new TenantContext(),
        clock,
        random: () => 0.5,
        logger: new LogBook(),
        owner: 'tests',
      });
      cleanups.push(() => pool.close({ deadlineMs: 0 }));
      let changes = 0;
      pool.on('status', () => changes++);
      pool.start().catch(() => undefined);
      await eventually(() => counts.accepted > 0);
      // Without time passing there is an end to it: a connect here needs a few turns of the event loop.
      // few.
      let seen = 0;
      for (let round = 0; round < 20 && seen !== counts.accepted; round++) {
        seen = counts.accepted;
        for (let passed = 0; passed < 500; passed++) await turn();
      }
      if (isPacedElsewhere !== true) expect(counts.accepted).toBe(seen);
      for (let pause = 0; pause < 20; pause++) {
        await clock.advance(100);
        for (let passed = 0; passed < 50; passed++) await turn();
      }
      // Two seconds, with pauses that grow.
      expect(counts.accepted).toBeLessThan(20);
      expect(changes).toBeLessThanOrEqual(2 * counts.accepted);
    });
  },
);
