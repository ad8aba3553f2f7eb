/**
 * What the server sends beside the answers to statements: notifications and notices. The listeners of a lease hear
 * them, each in the context in which it was added, until the release.
 */
import { deepEqual } from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import { failureOf, pg, rowsOf } from '../calls.mjs';
import { quiet } from '../quiet.mjs';

const ADD = 'select $1::int + $2::int as sum';
const LISTEN = 'listen news';
const LISTEN_TO_SPORTS = 'listen sports';
const NOTIFY = 'select pg_notify($1::text, $2::text)';
const RAISE = `do $$ begin raise notice 'by the way'; end $$`;
const raise = pg(RAISE, { redacted: 'do ?' });

const NOTICE = { severity: 'NOTICE', code: '00000', message: 'by the way' };

/** Whose code is running, as an application may keep it. */
const caller = new AsyncLocalStorage();

export async function run(calls, { databaseUrl }) {
  const manager = new ConnectionPoolManager(
    {
      pools: {
        news: {
          type: 'database',
          connectionString: databaseUrl,
          maxSize: 2,
          minSize: 0,
          acquireTimeoutMs: 3_000,
          healthCheck: { intervalMs: 0 },
        },
      },
    },
    quiet,
  );
  await manager.start();
  const pool = manager.getPool('news');
  // No later call opens one: what arrives is read in another context than that of the listener.
  await calls.make('open both connections', [], async () => {
    for (const client of [await pool.connect(), await pool.connect()]) client.release();
  });
  await heardByLease(calls, pool);
  await heardAfterRelease(calls, pool);
  await calls.make('stop', [], async () => {
    await manager.stop();
  });
}

async function heardByLease(calls, pool) {
  await calls.make('a lease', [], async () => {
    const client = await pool.connect();
    try {
      await calls.make('a notification', [pg(LISTEN), pg(ADD)], () =>
        caller.run('listener', async () => {
          const heard = heardOnce(client, 'notification', () => client.query(ADD, [1, 2]));
          await client.query(LISTEN);
          await calls.make('a notification: its sender', [pg(NOTIFY)], () =>
            caller.run('sender', async () => rowsOf(await pool.query(NOTIFY, ['news', 'good news']))),
          );
          const { message, ...others } = await heard;
          return checked(
            { message: notificationOf(message), isOfAnother: message.processId !== client.processID, ...others },
            { message: 'news: good news', isOfAnother: true, caller: 'listener', sum: 3 },
          );
        }),
      );
      await calls.make('a notice', [pg(ADD)], () =>
        caller.run('listener', async () => {
          const heard = heardOnce(client, 'notice', () => pool.query(ADD, [3, 4]));
          await calls.make('a notice: its statement', [raise], () =>
            caller.run('sender', async () => rowsOf(await client.query(RAISE))),
          );
          const { message, ...others } = await heard;
          return checked({ message: noticeOf(message), ...others }, { message: NOTICE, caller: 'listener', sum: 7 });
        }),
      );
    } finally {
      client.release();
    }
  });
}

async function heardAfterRelease(calls, pool) {
  const late = [];
  await calls.make('a lease that goes on listening', [pg(LISTEN)], async () => {
    const client = await pool.connect();
    for (const event of ['notification', 'notice']) client.on(event, (message) => late.push(message));
    await client.query(LISTEN);
    client.release();
    const { name } = await failureOf(once(client, 'notification'));
    return name;
  });
  const spans = [pg(LISTEN_TO_SPORTS), pg(LISTEN_TO_SPORTS), pg(NOTIFY), pg(NOTIFY), raise, raise];
  await calls.make('the leases after it', spans, async () => {
    // One of them has its session.
    const clients = [await pool.connect(), await pool.connect()];
    try {
      const heard = clients.map(heardBy);
      const arrived = clients.map((client) => once(client, 'notification'));
      for (const client of clients) await client.query(LISTEN_TO_SPORTS);
      // The server keeps their order: when the second is here, the first is not to come any more.
      await clients[0].query(NOTIFY, ['news', 'old news']);
      await clients[0].query(NOTIFY, ['sports', 'a goal']);
      await Promise.all(arrived);
      for (const client of clients) await client.query(RAISE);
      return checked({ heard, late }, { heard: clients.map(() => ['sports: a goal', NOTICE]), late: [] });
    } finally {
      for (const client of clients) client.release();
    }
  });
}

/** The next message of a lease, whose listener runs a statement; and who the caller of that listener is. */
function heardOnce(client, event, query) {
  return new Promise((resolve, reject) => {
    client.once(event, (message) => {
      query().then(({ rows: [{ sum }] }) => resolve({ message, caller: caller.getStore(), sum }), reject);
    });
  });
}

/** All that a lease hears, as it comes. */
function heardBy(client) {
  const heard = [];
  client.on('notification', (message) => heard.push(notificationOf(message)));
  client.on('notice', (message) => heard.push(noticeOf(message)));
  return heard;
}

const notificationOf = ({ channel, payload }) => `${channel}: ${payload}`;
const noticeOf = ({ severity, code, message }) => ({ severity, code, message });

/** Without an APM, too, the answer must be the right one. */
function checked(answer, expected) {
  deepEqual(answer, expected);
  return answer;
}
