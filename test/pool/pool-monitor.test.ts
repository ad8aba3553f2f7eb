import { AsyncLocalStorage } from 'node:async_hooks';

import { describe, expect, it } from '@jest/globals';

import type { ProbeOptions, ProbeOutcome } from '../../lib/engine/probe.js';
import type { HealthCheckOptions, StatusChange } from '../../lib/pool/pool-health.js';
import { PoolMonitor } from '../../lib/pool/pool-monitor.js';
import { FakeClock } from '../support/fakes/fake-clock.js';

const OPTIONS: HealthCheckOptions = { intervalMs: 30_000, timeoutMs: 5_000, failureThreshold: 3 };

/**
 * A backend that answers, is silent or refuses, as the test says; `random` in the middle leaves intervals as they are
 * configured.
 */
function watch(options: Partial<HealthCheckOptions> = {}, random = 0.5) {
  const clock = new FakeClock();
  const changes: string[] = [];
  const backend = {
    answer: (_options: ProbeOptions): Promise<ProbeOutcome> => Promise.resolve('alive'),
    probes: 0,
  };
  const monitor = new PoolMonitor({
    probe: (probe) => {
      backend.probes += 1;
      return backend.answer(probe);
    },
    options: { ...OPTIONS, ...options },
    clock,
    random: () => random,
    onStatus: ({ from, to }: StatusChange) => changes.push(`${from} → ${to}`),
  });
  const refuse = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:5432'));
  return { clock, changes, backend, monitor, refuse };
}

describe('a pool that is watched', () => {
  it('is starting until something is heard of its backend, and healthy from the first connection on', () => {
    const { monitor, changes } = watch();
    expect(monitor.status).toBe('starting');
    monitor.start();
    expect(monitor.status).toBe('starting');
    monitor.connected();
    expect(monitor.status).toBe('healthy');
    expect(changes).toEqual(['starting → healthy']);
  });

  it('is not probed before it is opened', async () => {
    const { monitor, backend, clock } = watch();
    await expect(monitor.check()).resolves.toEqual({ status: 'starting', available: false, consecutiveFailures: 0 });
    await clock.advance(100_000);
    expect(backend.probes).toBe(0);
  });

  it('is degraded by the first failed probe and unhealthy at the threshold, and well again after one answer', async () => {
    const { monitor, backend, changes, refuse } = watch();
    monitor.start();
    monitor.connected();
    backend.answer = refuse;
    await monitor.check();
    expect(monitor.status).toBe('degraded');
    await monitor.check();
    expect(monitor.status).toBe('degraded');
    const third = await monitor.check();
    expect(third).toMatchObject({ status: 'unhealthy', available: false, outcome: 'failed', consecutiveFailures: 3 });

    backend.answer = () => Promise.resolve('alive');
    await monitor.check();
    expect(monitor.consecutiveFailures).toBe(0);
    expect(changes).toEqual([
      'starting → healthy',
      'healthy → degraded',
      'degraded → unhealthy',
      'unhealthy → healthy',
    ]);
  });

  it('that never came up is unhealthy after as many failures, not starting for ever', async () => {
    const { monitor, backend, refuse, changes } = watch();
    monitor.start();
    backend.answer = refuse;
    await monitor.check();
    await monitor.check();
    expect(monitor.status).toBe('starting');
    await monitor.check();
    expect(changes).toEqual(['starting → unhealthy']);
  });

  it('is degraded, and never unhealthy, while the server refuses more connections and the others work', async () => {
    const { monitor, changes, clock } = watch();
    monitor.start();
    monitor.connected();
    const full = new Error('sorry, too many clients already');
    for (let refusals = 0; refusals < 20; refusals++) {
      monitor.serverFull(full);
      expect(await monitor.check()).toMatchObject({ status: 'degraded', available: true, consecutiveFailures: 0 });
      expect(monitor.lastError).toBe(full);
      // One connection ends and another takes its place: the server is as full as before.
      monitor.connected();
      await clock.advance(2_000);
    }
    expect(changes).toEqual(['starting → healthy', 'healthy → degraded']);
    await clock.advance(40_000);
    expect(monitor.status).toBe('healthy');
    expect(monitor.lastError).toBeUndefined();
    expect(changes).toEqual(['starting → healthy', 'healthy → degraded', 'degraded → healthy']);
  });

  it('is well again with the next connection, where there are no probes, once the server takes more', async () => {
    const { monitor, clock } = watch({ intervalMs: 0 });
    monitor.start();
    monitor.connected();
    monitor.serverFull(new Error('full'));
    await clock.advance(1_000);
    expect(monitor.status).toBe('degraded');
    monitor.connected();
    expect(monitor.status).toBe('healthy');
  });

  it('is unhealthy for real failures, however full the server was before', async () => {
    const { monitor, backend, refuse } = watch();
    monitor.start();
    monitor.connected();
    monitor.serverFull(new Error('full'));
    backend.answer = refuse;
    for (let failures = 0; failures < 3; failures++) await monitor.check();
    expect(monitor.status).toBe('unhealthy');
  });

  it('is degraded, and never unhealthy, while no slot comes free for a probe', async () => {
    const { monitor, backend } = watch();
    monitor.start();
    monitor.connected();
    backend.answer = () => Promise.resolve('saturated');
    for (let check = 0; check < 10; check++) await monitor.check();
    expect(monitor.status).toBe('degraded');
    expect(monitor.consecutiveFailures).toBe(0);
    backend.answer = () => Promise.resolve('recent');
    await monitor.check();
    expect(monitor.status).toBe('healthy');
  });

  it('counts connections that all break at once as one failure, and connects that fail later as more', async () => {
    const { monitor, clock } = watch();
    monitor.start();
    monitor.connected();
    for (let connection = 0; connection < 10; connection++)
      monitor.connectionBroken(new Error('terminated by an administrator'));
    expect(monitor.consecutiveFailures).toBe(1);
    monitor.connectFailed(new Error('ECONNREFUSED'));
    expect(monitor.consecutiveFailures).toBe(1);
    await clock.advance(1_000);
    monitor.connectFailed(new Error('ECONNREFUSED'));
    expect(monitor.consecutiveFailures).toBe(2);
  });

  it('counts a connect that failed for a probe once, not for both', async () => {
    const { monitor, backend, refuse } = watch();
    monitor.start();
    monitor.connected();
    backend.answer = () => {
      monitor.connectFailed(new Error('ECONNREFUSED'));
      return refuse();
    };
    await monitor.check();
    expect(monitor.consecutiveFailures).toBe(1);
  });

  it('has to prove itself anew after a failure: what worked before that is no proof', async () => {
    const { monitor, backend, clock } = watch();
    const asked: ProbeOptions[] = [];
    backend.answer = (options) => {
      asked.push(options);
      return Promise.resolve('recent');
    };
    monitor.start();
    await monitor.check();
    monitor.connectionBroken(new Error('gone'));
    await clock.advance(200);
    await monitor.check();
    expect(asked).toEqual([
      { timeoutMs: 5_000, recentMs: 30_000 },
      { timeoutMs: 5_000, recentMs: 200 },
    ]);
  });

  it('is probed as soon as a connect succeeds after failures, and not believed before', async () => {
    const { monitor, backend, changes } = watch();
    monitor.start();
    monitor.connected();
    monitor.connectionBroken(new Error('gone'));
    expect(monitor.status).toBe('degraded');
    monitor.connected();
    expect(monitor.status).toBe('degraded');
    await monitor.check();
    expect(backend.probes).toBe(1);
    expect(changes).toEqual(['starting → healthy', 'healthy → degraded', 'degraded → healthy']);
  });

  it('is probed every interval while healthy, and ten times as often while it is not', async () => {
    const { monitor, backend, clock, refuse } = watch();
    monitor.start();
    monitor.connected();
    await clock.advance(3_000);
    expect(backend.probes).toBe(1);
    await clock.advance(29_999);
    expect(backend.probes).toBe(1);
    await clock.advance(1);
    expect(backend.probes).toBe(2);

    backend.answer = refuse;
    await clock.advance(30_000);
    expect(backend.probes).toBe(3);
    expect(monitor.status).toBe('degraded');
    await clock.advance(3_000);
    await clock.advance(3_000);
    expect(backend.probes).toBe(5);
    expect(monitor.status).toBe('unhealthy');
  });

  it('brings the next probe forward when something fails in between', async () => {
    const { monitor, backend, clock } = watch();
    monitor.start();
    monitor.connected();
    await clock.advance(3_000);
    expect(backend.probes).toBe(1);
    monitor.connectionBroken(new Error('gone'));
    await clock.advance(3_000);
    expect(backend.probes).toBe(2);
  });

  it.each([
    [0, 1_500, 27_000],
    [0.999_999_999, 4_500, 33_000],
  ])('spreads its probes, so that processes do not probe in step (random %d)', async (random, firstMs, dueMs) => {
    const { monitor, backend, clock } = watch({}, random);
    monitor.start();
    monitor.connected();
    await clock.advance(firstMs);
    const before = backend.probes;
    expect(before).toBe(1);
    await clock.advance(dueMs - 10);
    expect(backend.probes).toBe(before);
    await clock.advance(20);
    expect(backend.probes).toBe(before + 1);
  });

  it('has one probe under way at a time, however many callers ask', async () => {
    const { monitor, backend } = watch();
    monitor.start();
    let answer: (result: ProbeOutcome) => void = () => undefined;
    backend.answer = () => new Promise((resolve) => (answer = resolve));
    const checks = [monitor.check(), monitor.check(), monitor.check()];
    answer('alive');
    await Promise.all(checks);
    expect(backend.probes).toBe(1);
  });

  it('reuses a recent result on request, with the status of the moment', async () => {
    const { monitor, backend, clock } = watch();
    monitor.start();
    await monitor.check();
    monitor.connectionBroken(new Error('gone'));
    await clock.advance(900);
    await expect(monitor.check({ maxAgeMs: 1_000 })).resolves.toMatchObject({
      status: 'degraded',
      outcome: 'alive',
      consecutiveFailures: 1,
    });
    expect(backend.probes).toBe(1);
    await clock.advance(200);
    await monitor.check({ maxAgeMs: 1_000 });
    expect(backend.probes).toBe(2);
  });

  it('answers with what is known when the probe takes longer than the caller can wait', async () => {
    const { monitor, backend, clock } = watch();
    monitor.start();
    monitor.connected();
    let answer: (outcome: ProbeOutcome) => void = () => undefined;
    backend.answer = () => new Promise((resolve) => (answer = resolve));
    const check = monitor.check({ waitMs: 800 });
    await clock.advance(800);
    await expect(check).resolves.toEqual({ status: 'healthy', available: true, consecutiveFailures: 0 });
    const next = monitor.check({ waitMs: 800 });
    answer('saturated');
    await expect(next).resolves.toMatchObject({ status: 'degraded', outcome: 'saturated' });
    expect(backend.probes).toBe(1);
    expect(clock.pendingTimers).toBe(1);
  });

  it('is not probed in the background with an interval of 0, only on request', async () => {
    const { monitor, backend, clock } = watch({ intervalMs: 0 });
    monitor.start();
    await clock.advance(1_000_000);
    expect(backend.probes).toBe(0);
    await monitor.check();
    expect(backend.probes).toBe(1);
  });

  it('says draining and closed, whatever a late probe finds, and is left alone from then on', async () => {
    const { monitor, backend, clock, changes } = watch();
    monitor.start();
    monitor.connected();
    let fail: (error: Error) => void = () => undefined;
    backend.answer = () => new Promise((_resolve, reject) => (fail = reject));
    const check = monitor.check();
    monitor.drain();
    fail(new Error('connection terminated'));
    await expect(monitor.check()).resolves.toEqual({ status: 'draining', available: false, consecutiveFailures: 0 });
    await expect(check).resolves.toMatchObject({ status: 'draining', available: false });
    monitor.connectFailed(new Error('late'));
    monitor.connected();
    monitor.close();
    monitor.drain();
    await clock.advance(100_000);
    expect(changes).toEqual(['starting → healthy', 'healthy → draining', 'draining → closed']);
    expect(backend.probes).toBe(1);
    await expect(monitor.check()).resolves.toEqual({ status: 'closed', available: false, consecutiveFailures: 0 });
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps what went wrong out of what can be printed', async () => {
    const { monitor, backend, refuse } = watch();
    monitor.start();
    backend.answer = refuse;
    const result = await monitor.check();
    expect(result.error).toBeInstanceOf(Error);
    expect(JSON.stringify(result)).not.toContain('10.0.0.7');
  });

  it("probes and reports outside the caller's async context", async () => {
    const tenant = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const clock = new FakeClock();
    const monitor = new PoolMonitor({
      probe: () => {
        seen.push(tenant.getStore());
        return Promise.resolve('alive');
      },
      options: OPTIONS,
      clock,
      random: () => 0.5,
      onStatus: () => seen.push(tenant.getStore()),
    });
    tenant.run('acme', () => monitor.start());
    await tenant.run('acme', () => monitor.check());
    tenant.run('acme', () => monitor.drain());
    expect(seen).toEqual([undefined, undefined, undefined]);
  });
});
