/**
 * A line in the log for each acquire that waited, and each lease that lasted, longer than the application wants, with
 * the frame of its code that asked.
 *
 * Promises: at most a line a second of each sort, whatever happens; the next one says how many were left out. The stack
 * of an acquire is taken when it is made, and read only for a line.
 */
import type { LeaseInfo } from '../engine/driver.js';
import type { WaitReason } from '../engine/engine-watcher.js';
import type { Clock } from '../engine/time/clock.js';
import type { PoolLog } from './pool-log.js';

/** From which duration on there is a line, in milliseconds; 0: never. */
export interface SlowLimits {
  readonly slowAcquireMs: number;
  readonly slowUseMs: number;
}

/** Least time between two lines of the same sort, in milliseconds. */
const LINE_EVERY_MS = 1_000;

export class SlowLog {
  readonly #limits: SlowLimits;
  readonly #log: PoolLog;
  readonly #acquires: LineRate;
  readonly #uses: LineRate;
  /** Where the leases that are out were asked for. */
  readonly #origins = new WeakMap<LeaseInfo, Error>();

  /** `undefined`: nothing is to be logged. */
  static of(limits: SlowLimits, log: PoolLog, clock: Clock): SlowLog | undefined {
    return limits.slowAcquireMs > 0 || limits.slowUseMs > 0 ? new SlowLog(limits, log, clock) : undefined;
  }

  private constructor(limits: SlowLimits, log: PoolLog, clock: Clock) {
    this.#limits = limits;
    this.#log = log;
    this.#acquires = new LineRate(clock);
    this.#uses = new LineRate(clock);
  }

  /** A lease has begun. @param origin made where it was asked for. */
  granted(lease: LeaseInfo, origin: Error, waitedMs: number, waitedFor: WaitReason | undefined): void {
    const { slowAcquireMs, slowUseMs } = this.#limits;
    if (slowUseMs > 0) this.#origins.set(lease, origin);
    if (slowAcquireMs === 0 || waitedMs < slowAcquireMs) return;
    const leftOut = this.#acquires.take();
    if (leftOut === undefined) return;
    const { tenantId } = lease;
    this.#log.slowAcquire({ tenantId, durationMs: waitedMs, frame: frameOf(origin) }, waitedFor, leftOut);
  }

  /** A lease has ended. */
  released(lease: LeaseInfo, heldMs: number): void {
    const { slowUseMs } = this.#limits;
    if (slowUseMs === 0 || heldMs < slowUseMs) return;
    const leftOut = this.#uses.take();
    if (leftOut === undefined) return;
    const { tenantId } = lease;
    this.#log.slowUse({ tenantId, durationMs: heldMs, frame: frameOf(this.#origins.get(lease)) }, leftOut);
  }
}

/** Lets one line pass in each period. */
class LineRate {
  readonly #clock: Clock;
  #nextMs = -Infinity;
  #leftOut = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns how many were left out since the last line; undefined: this one is left out. */
  take(): number | undefined {
    const nowMs = this.#clock.now();
    if (nowMs < this.#nextMs) {
      this.#leftOut++;
      return undefined;
    }
    this.#nextMs = nowMs + LINE_EVERY_MS;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}

/** Where a frame is, if it is in a file. */
const FILE = /\(?((?:file:\/\/)?[^\s()]+):\d+:\d+\)?$/;

/** The innermost frame of the application: neither of this package, whose frames come first, nor of Node. */
function frameOf(origin: Error | undefined): string | undefined {
  const frames = (origin?.stack ?? '').split('\n').slice(1);
  const own = folderOf(fileOf(frames[0]));
  const asked = frames.find((frame) => {
    const file = fileOf(frame);
    return file !== '' && !file.startsWith('node:') && folderOf(file) !== own;
  });
  return asked?.trim().replace(/^at (?:async )?/, '');
}

/** Empty where the frame is in no file: a built-in's. */
function fileOf(frame = ''): string {
  return FILE.exec(frame)?.[1] ?? '';
}

/** The folder above that of a file: for one of this package, where its folders are. */
function folderOf(file: string): string {
  return file.split('/').slice(0, -2).join('/');
}
