import { describe, expect, it } from '@jest/globals';

import { AcquireTimeoutError } from '../../lib/errors.js';
import { type FakePool, fakePool } from '../support/fakes/fake-pool.js';

async function timeOut({ pool, clock }: FakePool, timeoutMs = 400): Promise<AcquireTimeoutError> {
  const waiting = pool.acquire('globex', { timeoutMs }).catch((thrown: unknown) => thrown);
  await clock.advance(timeoutMs + 50);
  const error = await waiting;
  if (!(error instanceof AcquireTimeoutError)) throw new Error('no time-out');
  return error;
}

describe('an acquire that timed out', () => {
  it('names the backend, with its error, when the server lets in no more though there is room', async () => {
    const fake = fakePool({ limits: { maxSize: 10 } });
    await fake.pool.acquire('acme');
    fake.driver.openBehaviour = new Error('too many connections for role');
    const error = await timeOut(fake);
    expect(error).toMatchObject({ kind: 'backend', cause: fake.driver.openBehaviour });
    expect(error.message).toMatch(/last connect failed with Error: too many connections .*1 of 10 in use/);
    expect(error.message).toMatch(/lets in as many as maxSize \(10\)/);
    expect(error.message).not.toMatch(/raise maxSize/);
    expect(fake.pool.counters.timeouts).toEqual({ pool: 0, tenant: 0, backend: 1 });
  });

  it('names the backend while connects hang', async () => {
    const fake = fakePool({ limits: { maxSize: 10, connectTimeoutMs: 5_000 } });
    await fake.pool.acquire('acme');
    fake.driver.openBehaviour = 'hang';
    const error = await timeOut(fake);
    expect([error.kind, error.cause]).toEqual(['backend', undefined]);
    expect(error.message).toMatch(/no connect has finished yet/);
  });

  it('names the backend while the only connection answers no ping', async () => {
    const fake = fakePool({ limits: { maxSize: 1, validateAfterIdleMs: 20 } });
    (await fake.pool.acquire('acme')).release();
    await fake.clock.advance(100);
    fake.driver.pingBehaviour = 'hang';
    const error = await timeOut(fake);
    expect(error).toMatchObject({ kind: 'backend' });
    expect(error.message).toMatch(/1 pinged, without an answer yet/);
  });

  it('names the ping that failed last', async () => {
    const fake = fakePool({ limits: { maxSize: 1, validateAfterIdleMs: 20 } });
    (await fake.pool.acquire('acme')).release();
    await fake.clock.advance(2_000);
    fake.driver.pingBehaviour = new Error('server closed');
    fake.driver.openBehaviour = 'hang';
    const error = await timeOut(fake);
    expect(error).toMatchObject({ kind: 'backend', cause: fake.driver.pingBehaviour });
    expect(error.message).toMatch(/last ping failed with Error: server closed/);
  });

  it('names no backend for an error of long ago', async () => {
    const fake = fakePool({ limits: { maxSize: 3 } });
    fake.driver.openBehaviour = new Error('long ago');
    void fake.pool.acquire('acme').catch(() => undefined);
    await fake.clock.advance(10);
    fake.driver.openBehaviour = 'ok';
    await fake.clock.advance(5_000);
    await fake.pool.acquire('acme');
    fake.driver.openBehaviour = 'hang';
    const { kind, cause } = await timeOut(fake);
    expect([kind, cause]).toEqual(['backend', undefined]);
  });

  it.each(['lent', 'being made clean'])('says that the pool was busy when every slot was %s', async (how) => {
    const fake = fakePool({ limits: { maxSize: 1, recycleTimeoutMs: 60_000 } });
    const lease = await fake.pool.acquire('acme');
    fake.driver.recycleBehaviour = 'hang';
    if (how !== 'lent') lease.release();
    const { kind, cause } = await timeOut(fake);
    expect([kind, cause]).toEqual(['pool', undefined]);
  });
});
