/**
 * The end of a manager: not ready at once, a grace in which nothing changes yet, work in flight until the drain
 * deadline, then the pools.
 *
 * Promises: it always ends, at the latest a connection's `closeTimeoutMs` after the deadline; it never rejects; and
 * nothing is cut before its time.
 */
import { inspect } from 'node:util';

import type { CloseReport } from '../engine/lending-engine.js';
import { describeError } from '../engine/redact.js';
import type { Clock } from '../engine/time/clock.js';
import { durationOf } from '../engine/time/deadlines.js';
import { setDeadline } from '../engine/time/late-timer.js';
import type { PoolHandle } from '../pool/pool-handle.js';
import type { PoolLogger } from '../pool/pool-log.js';

/** How a manager ended. */
export interface ShutdownReport {
  /** When `stop()` was called, in epoch milliseconds. */
  readonly startedAt: number;
  /** From the call of `stop()` until the last pool had closed, in milliseconds. */
  readonly durationMs: number;
  /** Whether all work in flight ended by itself: no lease was cut, no waiter refused, and `drain` settled in time. */
  readonly clean: boolean;
  /** One report for each pool that was closed. */
  readonly pools: readonly CloseReport[];
}

/** How a manager is stopped. */
export interface StopOptions {
  /**
   * How long work in flight gets from the end of the grace on, in milliseconds. Default `shutdown.drainTimeoutMs`. What
   * is no duration (0, less, NaN): no time; at most a day.
   */
  readonly deadlineMs?: number | undefined;
  /**
   * Ends what sends work to the pools: a server, a consumer. Called when the readiness grace is over; the pools go on
   * lending until it settles, or until the deadline. Default: nothing to wait for, so the pools begin to close at once.
   *
   * @param cut aborts after the deadline, once the leases still out have been cut: what is still being served can't
   * be finished any more.
   * @example
   * await manager.stop({
   *   drain: (cut) => {
   *     cut.addEventListener('abort', () => server.closeAllConnections());
   *     return new Promise((closed) => server.close(closed));
   *   },
   * });
   */
  readonly drain?: ((cut: AbortSignal) => PromiseLike<unknown>) | undefined;
}

/** As the engine's own: a close ends within a day. */
const LONGEST_DRAIN_MS = 86_400_000;

export interface ShutdownDependencies extends StopOptions {
  readonly deadlineMs: number;
  readonly readinessGraceMs: number;
  /** The pools that are there when they are to close. */
  readonly pools: () => readonly PoolHandle[];
  readonly clock: Clock;
  readonly logger: PoolLogger;
}

export async function shutDown(dependencies: ShutdownDependencies): Promise<ShutdownReport> {
  const { clock, logger, readinessGraceMs, drain } = dependencies;
  const deadlineMs = Math.min(durationOf(dependencies.deadlineMs), LONGEST_DRAIN_MS);
  const startedAt = Date.now();
  const startedAtMs = clock.now();
  if (readinessGraceMs > 0) await pause(clock, readinessGraceMs);

  const dueAtMs = clock.now() + deadlineMs;
  const cut = new AbortController();
  const drained = drain === undefined || (await settles(() => drain(cut.signal), deadlineMs, clock, logger));
  const pools = await closeAll(dependencies.pools(), drained ? Math.max(0, dueAtMs - clock.now()) : 0, logger);
  if (!drained) cut.abort();

  const report: ShutdownReport = {
    startedAt,
    durationMs: clock.now() - startedAtMs,
    clean: drained && pools.every((pool) => pool.cut === 0 && pool.refused === 0),
    pools,
  };
  logger[report.clean ? 'log' : 'warn'](describeShutdown(report, drained), fieldsOf(report));
  return report;
}

/** Closes pools together, and reports on each that could say how it went. */
export async function closeAll(
  pools: readonly PoolHandle[],
  deadlineMs: number,
  logger: PoolLogger,
): Promise<CloseReport[]> {
  const reports = await Promise.all(
    pools.map(async (pool) => {
      try {
        return await pool.close({ deadlineMs });
      } catch (error) {
        logger.error(`Closing pool "${pool.id}" failed: ${describeError(error)}`, { poolId: pool.id });
        return undefined;
      }
    }),
  );
  return reports.filter((report) => report !== undefined);
}

/** Whether `run` settled in time; that it failed is logged, and is no reason to wait any longer. */
function settles(
  run: () => PromiseLike<unknown>,
  withinMs: number,
  clock: Clock,
  logger: PoolLogger,
): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setDeadline(clock, () => resolve(false), withinMs);
    timer.ref();
    const settled = (): void => {
      timer.cancel();
      resolve(true);
    };
    // Called from a promise, what throws rejects.
    Promise.resolve()
      .then(run)
      .then(settled, (error: unknown) => {
        logger.error(`Draining failed: ${describeError(error)}`);
        settled();
      });
  });
}

function pause(clock: Clock, durationMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, durationMs).ref());
}

/** Holders that the text names; the fields have all of them. */
const NAMED_HOLDERS = 3;

function describeShutdown({ durationMs, pools }: ShutdownReport, drained: boolean): string {
  const late = drained ? '' : ' Work in flight did not end by the drain deadline.';
  return `Pools closed in ${Math.round(durationMs)} ms.${late} ${pools.map(describePool).join('; ')}`.trimEnd();
}

function describePool({ poolId, finished, cut, refused, holders }: CloseReport): string {
  const parts = [
    finished > 0 && `${count(finished, 'lease')} came back`,
    cut > 0 && `${count(cut, 'lease')} cut (held by ${describeHolders(holders)})`,
    refused > 0 && `${count(refused, 'waiter')} refused`,
  ].filter((part) => part !== false);
  return `${poolId}: ${parts.length === 0 ? 'nothing was in use' : parts.join(', ')}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function describeHolders(holders: CloseReport['holders']): string {
  const named = holders.slice(0, NAMED_HOLDERS).map(describeHolder);
  const others = holders.length - named.length;
  return [...named, ...(others > 0 ? [`${others} more`] : [])].join(', ');
}

function describeHolder({ tenantId, heldMs, stack }: CloseReport['holders'][number]): string {
  const who = `${tenantId ?? 'no tenant'} for ${Math.round(heldMs)} ms`;
  const frames = stack?.split('\n').map((frame) => frame.trim());
  return frames === undefined ? who : `${who}, acquired ${frames.join(' < ')}`;
}

/** The report for a logger that takes values: durations in whole milliseconds. */
function fieldsOf(report: ShutdownReport): object {
  const fields = {
    ...report,
    durationMs: Math.round(report.durationMs),
    pools: report.pools.map((pool) => ({
      ...pool,
      waitedMs: Math.round(pool.waitedMs),
      holders: pool.holders.map((holder) => ({ ...holder, heldMs: Math.round(holder.heldMs) })),
    })),
  };
  // One line also where it is printed beside the text, as the console does.
  const line = (): string => inspect({ ...fields }, { compact: true, breakLength: Infinity, depth: 5 });
  return Object.defineProperty(fields, inspect.custom, { value: line, enumerable: false });
}
