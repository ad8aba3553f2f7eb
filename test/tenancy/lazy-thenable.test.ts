import { AsyncResource } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, it } from '@jest/globals';

import { createExternalPool } from '../../lib/external/external-pool.js';
import { parseExternalPoolOptions } from '../../lib/external/external-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const tenants = new TenantContext();

type Answer = string | undefined;

/** A query builder: it runs when its `then` is called, and answers with the tenant that it ran as. */
class Builder implements PromiseLike<Answer> {
  runs = 0;

  then<R = Answer, E = never>(
    onfulfilled?: ((value: Answer) => R | PromiseLike<R>) | null,
    onrejected?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): Promise<R | E> {
    this.runs++;
    const first = tenants.current();
    const run = async (): Promise<Answer> => {
      await turn();
      return first === tenants.current() ? first : `began as ${first}, went on as ${tenants.current()}`;
    };
    return run().then(onfulfilled, onrejected);
  }
}

/** A promise whose work is begun by a `then` of its own, as in p-lazy. */
class LazyPromise extends Promise<Answer> {
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<R = Answer, E = never>(
    onfulfilled?: ((value: Answer) => R | PromiseLike<R>) | null,
    onrejected?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): Promise<R | E> {
    return new Builder().then(onfulfilled, onrejected);
  }
}

/** A builder that is called, as Knex' are. */
function callable(): PromiseLike<Answer> {
  const builder = new Builder();
  return Object.assign(() => undefined, { then: builder.then.bind(builder) });
}

const lazy: [string, () => PromiseLike<Answer>][] = [
  ['an object with a then', () => new Builder()],
  ['a function with a then', callable],
  ['a promise with a then of its own', () => new LazyPromise(() => undefined)],
];

const pool = createExternalPool(
  'orders',
  new FakeDriver(),
  parseExternalPoolOptions('orders', { driver: new FakeDriver(), maxSize: 4 }, {}),
  { tenants, clock: new FakeClock(), logger: new LogBook(), random: () => 0.5, owner: 'test' },
);

/** Every way in which this package runs a function of its user as a tenant. */
const entries: [string, (fn: () => PromiseLike<Answer>) => unknown][] = [
  ['run', (fn) => tenants.run('acme', fn)],
  ['runDetached', (fn) => tenants.runDetached('acme', fn)],
  ['a frame', (fn) => tenants.runFrame({ tenantId: 'acme', scope: undefined, holding: undefined }, fn)],
  ['run inside run', (fn) => tenants.run('initech', () => tenants.run('acme', fn))],
  ['run of an async function', (fn) => tenants.run('acme', async () => fn())],
  ['use', (fn) => tenants.run('acme', () => pool.use(fn))],
  ['use of an async function', (fn) => tenants.run('acme', () => pool.use(async () => fn()))],
  ['use of a view inside run', (fn) => pool.forTenant('globex').use(() => tenants.run('acme', fn))],
];

describe.each(lazy)('A lazy thenable: %s', (_, make) => {
  it.each(entries)('runs as the tenant of the function that returned it: %s', async (_name, enter) => {
    expect(await enter(make)).toBe('acme');
    expect(await tenants.run('globex', async () => await enter(make))).toBe('acme');
  });
});

function unreadable(): never {
  throw new TypeError('There is no such property.');
}

describe('What a function returns from run()', () => {
  it('is started once, whether it is awaited once, often or never', async () => {
    const builder = new Builder();
    const promise = tenants.run('acme', () => builder);
    expect(builder.runs).toBe(1);
    await promise;
    await promise;
    expect(builder.runs).toBe(1);
  });

  it('has a then that is a getter read once, as the tenant', async () => {
    const read: Answer[] = [];
    const lazily = {
      get then() {
        read.push(tenants.current());
        return (resolve: (answer: Answer) => void) => resolve(tenants.current());
      },
    };
    expect(await tenants.run('acme', () => lazily)).toBe('acme');
    expect(read).toEqual(['acme']);
  });

  it('rejects with what the thenable rejects with, or throws', async () => {
    const failure = new Error('no such table');
    const rejecting = { then: (_: unknown, reject: (error: Error) => void) => reject(failure) };
    const throwing = {
      then: (): never => {
        throw failure;
      },
    };
    await expect(tenants.run('acme', () => rejecting)).rejects.toBe(failure);
    await expect(tenants.run('acme', () => throwing)).rejects.toBe(failure);
  });

  it.each([
    ['a native promise', Promise.resolve(1)],
    ['an object', { rows: [] }],
    ['an object whose then is no function', { then: 'later' }],
    ['an object whose then cannot be read', new Proxy({}, { get: unreadable })],
    ['null', null],
    ['a number', 7],
    ['a function', () => 7],
  ])('is the very same value: %s', (_, value) => {
    expect(tenants.run('acme', () => value)).toBe(value);
  });

  it('keeps the context of the caller for what the caller does with the outcome', async () => {
    const resource = tenants.run('globex', () => new AsyncResource('caller'));
    const seen = await resource.runInAsyncScope(async () => {
      await tenants.run('acme', () => new Builder());
      return tenants.current();
    });
    expect(seen).toBe('globex');
  });
});
