/**
 * The start of one pool: at once with `startup: 'background'`; with `'wait'` when its first connections are there.
 *
 * Promise: each caller that waits gets an answer by `startupTimeoutMs`. A pool that could not be opened is left as it
 * is; closing it is the caller's.
 */
import { describeError } from '../engine/redact.js';
import type { Clock } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';
import { AcquireTimeoutError, PoolConfigError, UnsafeRoleError } from '../errors.js';
import type { PoolHandle } from '../pool/pool-handle.js';

/**
 * Opens `pool`.
 *
 * @throws {AcquireTimeoutError} of the kind `backend` when nothing could be opened in time; `cause` is the last connect
 * error.
 * @throws {UnsafeRoleError} or {PoolConfigError} at once, when waiting mends nothing: the connect failed with one, or
 * with an error that the driver calls a misconfiguration, which is `cause` then.
 * @throws {PoolClosedError} when the pool is closed meanwhile.
 */
export async function openPool(pool: PoolHandle, clock: Clock): Promise<void> {
  if (pool.config.startup === 'background') {
    // It rejects when the pool closes before it was ever connected, which is no failure of the start.
    pool.start().catch(() => undefined);
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const { startupTimeoutMs } = pool.config;
    let lastError: Error | undefined;
    const settle = (end: () => void): void => {
      timer.cancel();
      pool.off('connectError', failed);
      end();
    };
    const failed = (error: Error): void => {
      lastError = error;
      const final = finalError(pool, error);
      if (final !== undefined) settle(() => reject(final));
    };
    const timer = setDeadline(
      clock,
      () => settle(() => reject(notUp(pool, startupTimeoutMs, lastError))),
      startupTimeoutMs,
    );
    timer.ref();
    pool.on('connectError', failed);
    pool.start().then(
      () => settle(resolve),
      (error: Error) => settle(() => reject(error)),
    );
  });
}

/** What ends the wait at once; undefined where a retry may succeed. */
function finalError(pool: PoolHandle, error: Error): Error | undefined {
  if (error instanceof UnsafeRoleError || error instanceof PoolConfigError) return error;
  if (!pool.isMisconfigured(error)) return undefined;
  const rule =
    `can't be connected, and waiting mends nothing: ${describeError(error)}. Correct the options or the server; with ` +
    `startup: 'background' the application starts, and the pool goes on trying`;
  return new PoolConfigError([{ key: `pools.${pool.id}`, rule }], { poolId: pool.id, cause: error });
}

function notUp(pool: PoolHandle, waitedMs: number, cause: Error | undefined): AcquireTimeoutError {
  const { active, idle, connecting, waiting, max } = pool.stats();
  return new AcquireTimeoutError('backend', {
    poolId: pool.id,
    waitedMs,
    cause,
    numbers: { active, idle, connecting, waiting, maxSize: max },
    oldestHolders: [],
    tenantInUse: 0,
    tenantMax: Infinity,
    blockedHolders: 0,
  });
}
