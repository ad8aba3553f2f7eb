import { describe, expect, it } from '@jest/globals';

import { WatchedPromise } from '../../lib/postgres/statement/watched-promise.js';

const WAYS: readonly [name: string, wait: (promise: Promise<unknown>) => unknown][] = [
  ['then', (promise) => promise.then(() => {})],
  ['then without a function', (promise) => promise.then()],
  ['catch', (promise) => promise.catch(() => {})],
  ['finally', (promise) => promise.finally(() => {})],
  ['await', async (promise) => void (await promise)],
  ['the return of an async function', async (promise) => promise],
  ['Promise.resolve', (promise) => Promise.resolve(promise)],
  ['Promise.all', (promise) => Promise.all([promise])],
  ['Promise.race', (promise) => Promise.race([promise])],
  ['Promise.allSettled', (promise) => Promise.allSettled([promise])],
  ['the resolution of another promise', (promise) => new Promise((resolve) => resolve(promise))],
  ['then of Promise itself', (promise) => Promise.prototype.then.call(promise, () => {})],
];

describe('a watched promise', () => {
  it.each(WAYS)('knows that something waits for it: %s', async (_name, wait) => {
    const promise = new WatchedPromise((resolve) => resolve(1));
    promise.watch();
    expect(promise.isAwaited).toBe(false);
    wait(promise);
    // Some ways attach their reaction in a microtask.
    await Promise.resolve();
    expect(promise.isAwaited).toBe(true);
  });

  it('does not count what waited for it before', async () => {
    const promise = new WatchedPromise((resolve) => resolve(1));
    await promise;
    promise.watch();
    expect(promise.isAwaited).toBe(false);
    await promise;
    expect(promise.isAwaited).toBe(true);
  });

  it('passes for an ordinary one, in its results and in their order', async () => {
    const order = async (promise: Promise<unknown>): Promise<string[]> => {
      const seen: string[] = [];
      const note = (what: string) => () => void seen.push(what);
      const awaits = async (): Promise<void> => {
        await promise;
        seen.push('await');
      };
      const ways = [awaits(), promise.then(note('then')), (async () => promise)().then(note('returned'))];
      const ticks = (async () => {
        for (const tick of [1, 2, 3, 4]) {
          await Promise.resolve();
          seen.push(`tick ${tick}`);
        }
      })();
      await Promise.all([...ways, ticks]);
      return seen;
    };
    expect(await order(new WatchedPromise((resolve) => resolve(1)))).toEqual(await order(Promise.resolve(1)));
    const derived = new WatchedPromise((resolve) => resolve(1)).then((value) => value);
    expect(derived).not.toBeInstanceOf(WatchedPromise);
    expect(await derived).toBe(1);
    await expect(new WatchedPromise((_, reject) => reject(new Error('no')))).rejects.toThrow('no');
  });
});
