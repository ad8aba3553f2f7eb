/**
 * A line in the log for each acquire that waited, and each lease that lasted, for at least as long as the application
 * says, with the frame of its code that asked.
 *
 * Promises: at most a line a second of each sort; the next one says how many were left out. The stack
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
/** Frames of a stack that are kept: those of this package and of libraries come before the application's. */
const MOST_FRAMES = 50;

export class SlowLog {
  readonly #limits: SlowLimits;
  readonly #log: PoolLog;
  readonly #acquires: LineRate;
  readonly #uses: LineRate;
  /** Where the leases that are out were asked for. */
  readonly #origins = new WeakMap<LeaseInfo, Error>();

  private constructor(limits: SlowLimits, log: PoolLog, clock: Clock) {
    this.#limits = limits;
    this.#log = log;
    this.#acquires = new LineRate(clock);
    this.#uses = new LineRate(clock);
  }

  /** `undefined`: nothing is to be logged. */
  static of(limits: SlowLimits, log: PoolLog, clock: Clock): SlowLog | undefined {
    return limits.slowAcquireMs > 0 || limits.slowUseMs > 0 ? new SlowLog(limits, log, clock) : undefined;
  }

  /** To be made where a slot is asked for. */
  origin(): Error {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = MOST_FRAMES;
    const origin = new Error('asked for a slot');
    Error.stackTraceLimit = stackTraceLimit;
    return origin;
  }

  isSlowAcquire(waitedMs: number): boolean {
    const { slowAcquireMs } = this.#limits;
    return slowAcquireMs > 0 && waitedMs >= slowAcquireMs;
  }

  /** An acquire that was slow has been granted. */
  waited(
    tenantId: string | undefined,
    origin: Error | undefined,
    waitedMs: number,
    waitedFor: WaitReason | undefined,
  ): void {
    const leftOut = this.#acquires.take();
    if (leftOut === undefined) return;
    this.#log.slowAcquire({ tenantId, durationMs: waitedMs, frame: frameOf(origin) }, waitedFor, leftOut);
  }

  /** A lease has begun. */
  lent(lease: LeaseInfo, origin: Error): void {
    if (this.#limits.slowUseMs > 0) this.#origins.set(lease, origin);
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

/** The innermost frame of the application: not of this package, whose frames come first, of Node or of a library. */
function frameOf(origin: Error | undefined): string | undefined {
  const frames = (origin?.stack ?? '').split('\n').slice(1);
  const own = packageOf(fileOf(frames[0]));
  const others = frames.filter((frame) => {
    const file = fileOf(frame);
    return file !== '' && !file.startsWith('node:') && !file.startsWith(own);
  });
  const asked = others.find((frame) => !fileOf(frame).includes('/node_modules/')) ?? others[0];
  return asked?.trim().replace(/^at (?:async )?/, '');
}

/** Empty where the frame is in no file: a built-in's. */
function fileOf(frame = ''): string {
  return FILE.exec(frame)?.[1] ?? '';
}

/** The folder of this package that has all its code, from a file one folder below. */
function packageOf(file: string): string {
  return `${file.split('/').slice(0, -2).join('/')}/`;
}
