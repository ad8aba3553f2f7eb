/** HTTP requests, by undici and by Node's own client. */
import { text as textOf } from 'node:stream/consumers';
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';
import { failureOf, http } from '../calls.mjs';
import { quiet } from '../quiet.mjs';

/** What undici can't do goes through Node's client; progress events are such a thing. */
const CLIENTS = { undici: {}, 'Node client': { onDownloadProgress: () => {} } };

export async function run(calls, { upstream }) {
  const manager = new ConnectionPoolManager(
    {
      pools: {
        billing: { type: 'http', baseURL: upstream, maxSize: 2, healthCheck: { intervalMs: 0, path: '/alive' } },
      },
    },
    quiet,
  );
  // The probe, through a client that APMs see everything of.
  calls.mayBeAlone(http('GET /alive'));
  await manager.start();
  const pool = manager.getPool('billing');
  for (const [client, options] of Object.entries(CLIENTS)) await requests(calls, pool, client, options);
  await calls.make('the health check', [], async () => (await pool.healthCheck()).status);
  await calls.make('stop', [], async () => {
    await manager.stop();
  });
}

async function requests(calls, pool, client, options) {
  await calls.make(`${client}: get`, [http('GET /echo')], async () =>
    answerOf(await firstValueFrom(pool.get('/echo', options))),
  );
  await calls.make(`${client}: axiosRef`, [http('GET /echo')], async () =>
    answerOf(await pool.axiosRef.get('/echo', options)),
  );
  await calls.make(`${client}: post`, [http('POST /echo')], async () =>
    answerOf(await pool.axiosRef.post('/echo', { order: 7 }, options)),
  );
  await calls.make(`${client}: use`, [http('GET /echo')], () =>
    pool.use(async (axios) => answerOf(await axios.get('/echo', options))),
  );
  await calls.make(`${client}: a lease`, [http('GET /echo'), http('PUT /echo')], async () => {
    const lease = await pool.acquire();
    try {
      return [
        answerOf(await lease.connection.get('/echo', options)),
        answerOf(await lease.connection.put('/echo', 'text', options)),
      ];
    } finally {
      lease.release();
    }
  });
  await calls.make(`${client}: a stream`, [http('GET /large')], async () => {
    const { data } = await pool.axiosRef.get('/large', { ...options, responseType: 'stream' });
    return (await textOf(data)).length;
  });
  await calls.make(`${client}: not found`, [http('GET /missing')], async () => {
    const { name, code, message } = await failureOf(pool.axiosRef.get('/missing', options));
    return { name, code, message };
  });
  await calls.make(`${client}: a connection that is cut`, [http('POST /cut', { failed: true })], async () => {
    const { name, code } = await failureOf(pool.axiosRef.post('/cut', 'text', options));
    return { name, code };
  });
  await calls.make(`${client}: a request that its signal ends`, [http('GET /never')], async () => {
    const abort = new AbortController();
    const failure = failureOf(pool.axiosRef.get('/never', { ...options, signal: abort.signal }));
    setTimeout(() => abort.abort(), 150);
    const { name, code } = await failure;
    return { name, code };
  });
  await calls.make(`${client}: a request that passes its deadline`, [http('GET /never')], async () => {
    const { name, code } = await failureOf(pool.axiosRef.get('/never', { ...options, timeout: 150 }));
    return { name, code };
  });
  await calls.make(`${client}: more requests than slots`, [], () =>
    Promise.all(
      Array.from({ length: 10 }, (_, turn) =>
        calls.make(`${client}: more requests than slots, ${turn}`, [http(`GET /echo/${turn}`)], async () =>
          answerOf(await pool.axiosRef.get(`/echo/${turn}`, options)),
        ),
      ),
    ),
  );
  await calls.carry(`${client}: what names the span`, [http('GET /echo')], async () => {
    const { data } = await pool.axiosRef.get('/echo', options);
    return data.tracing;
  });
}

/** Without the headers that an APM adds. */
function answerOf({ status, data: { tracing: _tracing, ...data } }) {
  return { status, data };
}
