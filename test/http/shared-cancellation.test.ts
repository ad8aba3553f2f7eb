// One signal, or one token, for a thousand requests: one listener, no warning.
import { getEventListeners } from 'node:events';

import { expect, it } from '@jest/globals';
import axios from 'axios';

import { eventually } from '../support/eventually.js';
import { startHttpServer } from '../support/servers/index.js';
import { httpPool } from './support/http-pools.js';

it.each(['a signal', 'a cancel token'])('%s ends every request that shares it, in flight or waiting', async (which) => {
  await using server = await startHttpServer();
  await using made = await httpPool({ baseURL: server.url, maxSize: 2 });
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  const controller = new AbortController();
  const source = axios.CancelToken.source();
  const config = which === 'a signal' ? { signal: controller.signal } : { cancelToken: source.token };
  const all = Array.from({ length: 1_000 }, () => made.pool.axiosRef.get('/never', config));
  await eventually(() => made.pool.stats().waiting === 998);
  expect(getEventListeners(controller.signal, 'abort').length).toBeLessThanOrEqual(1);
  controller.abort();
  source.cancel();
  for (const { status, ...rest } of await Promise.allSettled(all)) {
    expect(status).toBe('rejected');
    expect(rest).toMatchObject({ reason: { code: 'ERR_CANCELED' } });
  }
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  await eventually(() => made.pool.stats().active === 0);
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});

it('a signal that has served one request serves the next', async () => {
  await using server = await startHttpServer();
  await using made = await httpPool({ baseURL: server.url });
  const controller = new AbortController();
  for (let i = 0; i < 3; i++) await made.pool.axiosRef.get('/echo', { signal: controller.signal });
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  const last = made.pool.axiosRef.get('/never', { signal: controller.signal });
  await server.waitUntil(({ counters }) => counters.inFlight === 1);
  controller.abort();
  await expect(last).rejects.toMatchObject({ code: 'ERR_CANCELED' });
});
