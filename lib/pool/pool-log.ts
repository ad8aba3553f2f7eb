/**
 * What a pool writes to the application's log.
 *
 * Promises: one outage is one warning and its changes of status, however many connects fail in it; a logger that throws
 * harms nothing.
 */
import { whereAcquired } from '../engine/acquire-stack.js';
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
   * @param fields the same as values, for loggers that write JSON; the shutdown's report has them.
   */
  log(message: string, fields?: object): void;
  /** What may need a person: an outage, a leaked lease, a shutdown that cut work. @param fields as for `log`. */
  warn(message: string, fields?: object): void;
  /** What needs a person: a driver or a listener that fails. */
  error(message: string): void;
  /** What helps to find a fault. */
  debug(message: string): void;
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
    this.#logger.error(`Pool "${this.#poolId}": ${message}`);
  }

  warn(message: string): void {
    this.#logger.warn(`Pool "${this.#poolId}": ${message}`);
  }

  debug(message: string): void {
    this.#logger.debug(`Pool "${this.#poolId}": ${message}`);
  }

  status({ to, error }: StatusChange): void {
    if (to === 'healthy') {
      this.restored();
      this.#logger.log(`Pool "${this.#poolId}" is healthy`);
    } else if (to === 'degraded' || to === 'unhealthy') {
      const why = error === undefined ? 'no slot came free for a health check' : describeError(error);
      this.#logger[this.#tell(to)](`Pool "${this.#poolId}" is ${to}: ${why}`);
    }
  }

  /** @param changedStatus whether the change of status that it led to has told of it already. */
  connectFailed(error: Error, changedStatus: boolean): void {
    const level = changedStatus ? 'debug' : this.#tell('degraded');
    this.#toldOfConnection = true;
    this.#logger[level](`Pool "${this.#poolId}" could not connect: ${describeError(error)}`);
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
    this.#logger[level](`Pool "${this.#poolId}": ${which} has no connection: ${why}`);
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
    const whose = tenantId === undefined ? 'without a tenant' : `of tenant "${tenantId}"`;
    const outFor = `${Math.round(heldMs)} ms`;
    this.#logger.warn(`Pool "${this.#poolId}": a lease ${whose} has been out for ${outFor}.${whereAcquired(stack)}`);
  }

  releasedTwice(): void {
    const { stack = '' } = new Error('released again here');
    this.#logger.warn(`Pool "${this.#poolId}": a lease was released twice; the second time did nothing. ${stack}`);
  }

  driverFailed(method: DriverMethod, error: unknown): void {
    // That a connection couldn't be made clean is ordinary: it was replaced.
    const level = method === 'recycle' ? 'debug' : 'warn';
    this.#logger[level](`Pool "${this.#poolId}": ${method} of the driver failed with ${describeError(error)}`);
  }
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
