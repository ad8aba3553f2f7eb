/**
 * What a pool writes to the application's log.
 *
 * Promises: one outage is one warning and its changes of status, however many connects fail in it; a logger that throws
 * harms nothing.
 */
import { whereAcquired } from '../engine/acquire-stack.js';
import type { WaitReason } from '../engine/engine-watcher.js';
import type { LeaseHolder } from '../engine/errors.js';
import type { DriverMethod } from '../engine/pool-observer.js';
import { describeError } from '../engine/redact.js';
import type { Clock } from '../engine/time/clock.js';
import type { StatusChange } from './pool-health.js';

/** Where a pool reports what needs a person's eye. Nest's Logger fits. */
export interface PoolLogger {
  /**
   * What is worth knowing: a recovery, a finished shutdown.
   *
   * @param fields the same as values, for loggers that write JSON: `poolId` first of all, where it is about one pool.
   */
  log(message: string, fields?: object): void;
  /** What may need a person: an outage, a leaked lease, a shutdown that cut work. @param fields as for `log`. */
  warn(message: string, fields?: object): void;
  /** What needs a person: a driver or a listener that fails. @param fields as for `log`. */
  error(message: string, fields?: object): void;
  /** What helps to find a fault. @param fields as for `log`. */
  debug(message: string, fields?: object): void;
}

/** What a line about something slow says of it. */
export interface SlowWork {
  readonly tenantId: string | undefined;
  readonly durationMs: number;
  /** Of the application's code. */
  readonly frame: string | undefined;
}

/** How long a backend must have been back for its next failure to be another outage, in milliseconds. */
const STABLE_MS = 5_000;

export class PoolLog {
  readonly #poolId: string;
  readonly #logger: PoolLogger;
  readonly #clock: Clock;
  /** The worst that has been told of the present outage. */
  #told: 'nothing' | 'degraded' | 'unhealthy' = 'nothing';
  /** Whether a connection that failed or was lost has been told of in the present outage. */
  #toldOfConnection = false;
  /** Since when the backend has been back, as a reading of the clock; `undefined`: it isn't. */
  #backAtMs: number | undefined = undefined;

  constructor(poolId: string, logger: PoolLogger, clock: Clock) {
    this.#poolId = poolId;
    this.#logger = harmlessLogger(logger);
    this.#clock = clock;
  }

  error(message: string): void {
    this.#write('error', `: ${message}`);
  }

  warn(message: string): void {
    this.#write('warn', `: ${message}`);
  }

  debug(message: string): void {
    this.#write('debug', `: ${message}`);
  }

  /** @param message goes on behind the pool's name. */
  #write(level: keyof PoolLogger, message: string, fields: object = {}): void {
    this.#logger[level](`Pool "${this.#poolId}"${message}`, { poolId: this.#poolId, ...fields });
  }

  status({ to, error }: StatusChange): void {
    if (to === 'healthy') {
      this.restored();
      this.#write('log', ' is healthy', { status: to });
    } else if (to === 'degraded' || to === 'unhealthy') {
      const why = error === undefined ? 'no slot came free for a health check' : describeError(error);
      this.#write(this.#tell(to), ` is ${to}: ${why}`, { status: to, reason: why });
    }
  }

  /** @param changedStatus whether the change of status that it led to has told of it already. */
  connectFailed(error: Error, changedStatus: boolean): void {
    const level = changedStatus ? 'debug' : this.#tell('degraded');
    this.#toldOfConnection = true;
    const reason = describeError(error);
    this.#write(level, ` could not connect: ${reason}`, { reason });
  }

  /**
   * A connection that the kind has besides its slots was lost, or could not be made. Its warning stands for those of
   * the changes of status that follow.
   *
   * @param which the connection, as the subject of a sentence.
   */
  connectionLost(which: string, error: Error | undefined): void {
    this.#goesOn();
    const level = this.#toldOfConnection || this.#told === 'unhealthy' ? 'debug' : 'warn';
    this.#told = 'unhealthy';
    this.#toldOfConnection = true;
    const why = error === undefined ? 'the server closed it' : describeError(error);
    this.#write(level, `: ${which} has no connection: ${why}`, { reason: why });
  }

  /** The backend is back: the pool is healthy, or a connection that the kind has besides its slots is there again. */
  restored(): void {
    this.#backAtMs ??= this.#clock.now();
  }

  #tell(what: 'degraded' | 'unhealthy'): 'warn' | 'debug' {
    this.#goesOn();
    if (this.#told === 'unhealthy' || this.#told === what) return 'debug';
    this.#told = what;
    return 'warn';
  }

  /** A failure belongs to the present outage, unless the backend has been back for a while before. */
  #goesOn(): void {
    const backAtMs = this.#backAtMs;
    this.#backAtMs = undefined;
    if (backAtMs === undefined || this.#clock.now() - backAtMs < STABLE_MS) return;
    this.#told = 'nothing';
    this.#toldOfConnection = false;
  }

  leak({ tenantId, heldMs, stack }: LeaseHolder): void {
    const whose = ofTenant(tenantId);
    const outFor = `${Math.round(heldMs)} ms`;
    this.#write('warn', `: a lease ${whose} has been out for ${outFor}.${whereAcquired(stack)}`, {
      tenantId,
      heldMs,
      stack,
    });
  }

  /** @param leftOut how many such lines were left out since the last one. */
  slowAcquire(work: SlowWork, waitedFor: WaitReason | undefined, leftOut: number): void {
    const why = waitedFor === undefined ? '' : `, ${WAITED_FOR[waitedFor]}`;
    this.#slow('an acquire', 'waited', `${why}.`, work, { waitedMs: work.durationMs, waitedFor }, leftOut);
  }

  /** @param leftOut as for {@link slowAcquire}. */
  slowUse(work: SlowWork, leftOut: number): void {
    this.#slow('a lease', 'lasted', '.', work, { heldMs: work.durationMs }, leftOut);
  }

  #slow(what: string, verb: string, end: string, work: SlowWork, fields: object, leftOut: number): void {
    const { tenantId, durationMs, frame } = work;
    const where = frame === undefined ? '' : ` Asked for at ${frame}.`;
    const more = leftOut === 0 ? '' : ` ${leftOut} more since the last line of this sort.`;
    const whose = ofTenant(tenantId);
    this.#write('warn', `: ${what} ${whose} ${verb} ${Math.round(durationMs)} ms${end}${where}${more}`, {
      tenantId,
      ...fields,
      frame,
      leftOut,
    });
  }

  releasedTwice(): void {
    const { stack = '' } = new Error('released again here');
    this.#write('warn', `: a lease was released twice; the second time did nothing. ${stack}`, { stack });
  }

  driverFailed(method: DriverMethod, error: unknown): void {
    // That a connection couldn't be made clean is ordinary: it was replaced.
    const level = method === 'recycle' ? 'debug' : 'warn';
    const reason = describeError(error);
    this.#write(level, `: ${method} of the driver failed with ${reason}`, { method, reason });
  }
}

/** What a slow acquire waited for, as the end of a sentence. */
const WAITED_FOR: Readonly<Record<WaitReason, string>> = {
  pool: 'because every slot was in use',
  tenant: 'because its tenant had as many slots as it may have',
  connecting: 'for a connection to be opened or pinged',
  backend: 'because connects failed',
  suspended: 'because the pool was suspended',
};

function ofTenant(tenantId: string | undefined): string {
  return tenantId === undefined ? 'without a tenant' : `of tenant "${tenantId}"`;
}

/** A logger that never throws: an application's own may fail, and must not take a slot or the process with it. */
export function harmlessLogger(logger: PoolLogger): PoolLogger {
  const guarded =
    (level: keyof PoolLogger) =>
    (message: string, fields?: object): void => {
      try {
        // A logger may look at how many arguments it got.
        if (fields === undefined) logger[level](message);
        else logger[level](message, fields);
      } catch {
        // There is nowhere left to report it.
      }
    };
  return { log: guarded('log'), warn: guarded('warn'), error: guarded('error'), debug: guarded('debug') };
}
