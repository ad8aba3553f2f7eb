// What a subscription's end does to its request, wherever that has got to.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import axios from 'axios';
import { firstValueFrom } from 'rxjs';

import { Abandonment } from '../../lib/http/abandonment.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { httpPool } from './support/http-pools.js';

describe('the end of a subscription', () => {
  let server: HttpFixture;

  beforeAll(async () => {
    server = await startHttpServer();
  });

  afterAll(async () => {
    await server.close();
  });

  it('aborts a request whose adapter an interceptor has replaced', async () => {
    await using made = await httpPool({ baseURL: server.url });
    const { pool } = made;
    pool.axiosRef.interceptors.request.use((config) => ({ ...config, adapter: 'http' }));
    const subscription = pool.get('/held').subscribe();
    await server.waitForHeld(1);
    subscription.unsubscribe();
    await server.waitForHeld(0);
    expect(pool.stats()).toMatchObject({ active: 0, acquisitions: 1 });
  });

  it('keeps a request from being sent while an interceptor still works on it', async () => {
    await using made = await httpPool({ baseURL: server.url });
    const { pool } = made;
    let goOn = (): void => {};
    const reached = new Promise<void>((resolve) => {
      pool.axiosRef.interceptors.request.use(async (config) => {
        await new Promise<void>((release) => {
          goOn = release;
          resolve();
        });
        return config;
      });
    });
    const before = server.counters.requests;
    const subscription = pool.get('/echo').subscribe();
    await reached;
    subscription.unsubscribe();
    goOn();
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.counters.requests).toBe(before);
    expect(pool.stats()).toMatchObject({ active: 0, acquisitions: 0 });
  });

  it("leaves a token of the caller's in its place", async () => {
    await using made = await httpPool({ baseURL: server.url });
    const { token, cancel } = axios.CancelToken.source();
    const answer = firstValueFrom(made.pool.get('/held', { cancelToken: token }));
    await server.waitForHeld(1);
    cancel('enough');
    await expect(answer).rejects.toMatchObject({ code: 'ERR_CANCELED', message: 'enough' });
    await server.waitForHeld(0);
  });
});

describe('an abandonment', () => {
  it('tells as a cancel token of axios does', async () => {
    const abandonment = new Abandonment(axios);
    const told: unknown[] = [];
    const listener = (reason: unknown): void => void told.push(reason);
    const left = (): void => void told.push('left');
    abandonment.throwIfRequested();
    abandonment.subscribe(listener);
    abandonment.subscribe(left);
    abandonment.unsubscribe(left);
    const signal = abandonment.toAbortSignal();
    const { promise } = abandonment;
    expect(signal.aborted).toBe(false);

    abandonment.happen();
    abandonment.happen();
    const { reason } = abandonment;
    expect(axios.isCancel(reason)).toBe(true);
    expect(told).toEqual([reason]);
    expect(signal.aborted).toBe(true);
    expect(await promise).toBe(reason);
    expect(() => abandonment.throwIfRequested()).toThrow(axios.CanceledError);
    abandonment.subscribe(listener);
    expect(told).toEqual([reason, reason]);
  });
});
