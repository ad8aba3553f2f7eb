// One fuzz for everything that sends requests: never a body that stock axios would not have given, and nothing lost.
// A failure names its seed; FUZZ_SEED=<seed> FUZZ_COUNT=1 runs that exchange alone.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import { expect, it } from '@jest/globals';
import axios, { type AxiosInstance, type AxiosResponse } from 'axios';

import { OperationTimeoutError } from '../../../lib/errors.js';
import { eventually } from '../../support/eventually.js';
import { fuzzedExchange, startFuzzedServer } from './fuzzed-answers.js';
import { httpPool } from './http-pools.js';

const FAILED = 'failed';
const SLOTS = 20;
/**
 * A reset races with what was sent before it: how often an exchange is repeated until both sides have seen the same.
 */
const RACES = 20;
/** No exchange takes so long; without it a lost one would hang instead of failing. */
const LOST_AFTER_MS = 10_000;

const setting = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);

export function expectNoHarmFromServers(count: number): void {
  const first = setting('FUZZ_SEED', 1);
  const last = first + setting('FUZZ_COUNT', count) - 1;

  it(`${count} fuzzed answers give what axios gives, and cost no slot and no socket`, async () => {
    await using server = await startFuzzedServer();
    const made = await httpPool({ baseURL: server.url, maxSize: SLOTS, timeoutMs: LOST_AFTER_MS });
    const { pool } = made;
    const stock = axios.create({ baseURL: server.url, adapter: 'http', timeout: LOST_AFTER_MS });
    const differences: string[] = [];
    let next = first;
    const work = async (): Promise<void> => {
      for (let seed = next++; seed <= last; seed = next++) {
        const difference = await compare(seed, stock, pool.axiosRef);
        if (difference !== undefined) differences.push(difference);
      }
    };
    await Promise.all(Array.from({ length: SLOTS }, work));
    expect(differences).toEqual([]);
    await eventually(() => pool.stats().active === 0);
    expect(pool.stats()).toMatchObject({ waiting: 0 });
    await eventually(() => server.sockets.size <= SLOTS);
    await made[Symbol.asyncDispose]();
    await eventually(() => server.sockets.size === 0);
  }, 120_000);
}

async function compare(seed: number, stock: AxiosInstance, ours: AxiosInstance): Promise<string | undefined> {
  const { end, delimited } = fuzzedExchange(seed);
  const isReset = end === 'reset';
  const seenOfStock = new Set<string>();
  const seenOfOurs = new Set<string>();
  // A reset may come before or after a client has read what was sent: a body that is whole by its own account may be
  // had.
  for (let round = 0; round < RACES; round++) {
    // Each time anew: stock axios loses the end of a body now and then.
    const calm = isReset ? await outcome(`${seed}?calm`, seed, stock) : undefined;
    if (calm !== undefined && delimited) seenOfStock.add(calm);
    seenOfStock.add(await outcome(`${seed}`, seed, stock));
    seenOfOurs.add(await outcome(`${seed}`, seed, ours));
    // After a reset a failure is never wrong: axios takes a streamed body without a length for whole even then.
    const given = [...seenOfOurs].filter((seen) => seen !== FAILED);
    // That is axios' own doing, and how much of the body there is differs from one time to the next.
    if (isReset && !delimited && seenOfStock.size > 1) return undefined;
    const isFair = given.length > 0 || isReset || seenOfStock.has(FAILED);
    // A reset that arrives with the last bytes is told as an orderly end (libuv, uv__stream_io), to any client
    // now and then; never each time.
    const isPlausible = (seen: string) => seenOfStock.has(seen) || (seen === calm && seenOfOurs.has(FAILED));
    if (isFair && given.every(isPlausible)) return undefined;
  }
  return `seed ${seed}: axios gave ${[...seenOfStock].join(' or ')}, the pool ${[...seenOfOurs].join(' or ')}`;
}

/** What came of one exchange, without what only tells the two clients apart. */
async function outcome(path: string, seed: number, client: AxiosInstance): Promise<string> {
  const { method, responseType, upload, slowReader } = fuzzedExchange(seed);
  try {
    const response = await client.request<unknown>({
      url: `/${path}`,
      method,
      responseType,
      ...(upload > 0 && { data: Buffer.alloc(upload) }),
      validateStatus: null,
    });
    return `${response.status} ${await digest(response, slowReader)}`;
  } catch (error) {
    return axios.isAxiosError(error) && error.code === 'ECONNABORTED'
      ? 'lost'
      : error instanceof OperationTimeoutError
        ? 'lost'
        : FAILED;
  }
}

async function digest({ data }: AxiosResponse<unknown>, slowly: boolean): Promise<string> {
  const hash = createHash('sha256');
  if (data instanceof Readable) {
    for await (const chunk of data as AsyncIterable<Buffer>) {
      hash.update(chunk);
      if (slowly) await new Promise((resolve) => setImmediate(resolve));
    }
  } else hash.update(typeof data === 'string' ? data : Buffer.isBuffer(data) ? data : JSON.stringify(data));
  return hash.digest('hex').slice(0, 12);
}
