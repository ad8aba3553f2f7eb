/**
 * What a pool writes to the application's log.
 *
 * Promises: one outage is one warning and its changes of status, however many connects fail in it; a logger that throws
 * harms nothing.
 */
import type { Clock } from '../engine/time/clock.js';
import type { LeaseHolder } from '../engine/errors.js';
import { whereAcquired } from '../engine/lease.js';
import type { DriverMethod } from '../engine/pool-observer.js';
import { describeError } from '../engine/redact.js';
import type { StatusChange } from './pool-monitor.js';

/** Where a pool reports what needs a person's eye. Nest's Logger fits. */
export interface PoolLogger {
  /** What is worth knowing: a recovery, a finished shutdown. */
  log(message: string): void;
  /** What may need a person: an outage, a leaked lease. */
  warn(message: string): void;
  /** What needs a person: a driver or a listener that fails. */
  error(message: string): void;
  /** What helps to find a fault. */
  debug(message: string): void;
}

/** What a kind knows of the present outage. */
export interface KnownOutage {
  /** Whether it has told the log already. */
  readonly said: boolean;
}

/** How long a backend must have been back for its next failure to be another outage, in milliseconds. */
const STABLE_MS = 5_000;

export class PoolLog {
  readonly #poolId: string;
  readonly #logger: PoolLogger;
  readonly #clock: Clock;
  readonly #outage: KnownOutage | undefined;
  /** The worst that has been told of the present outage. */
  #told: 'nothing' | 'degraded' | 'unhealthy' = 'nothing';
  #healthyAtMs: number | undefined = undefined;

  /** @param outage what the kind itself tells of outages, if it does. */
  constructor(poolId: string, logger: PoolLogger, clock: Clock, outage?: KnownOutage) {
    this.#poolId = poolId;
    this.#logger = harmlessLogger(logger);
    this.#clock = clock;
    this.#outage = outage;
  }

  error(message: string): void {
    this.#logger.error(`Pool "${this.#poolId}": ${message}`);
  }

  status({ to, error }: StatusChange): void {
    if (to === 'healthy') {
      this.#healthyAtMs = this.#clock.now();
      this.#logger.log(`Pool "${this.#poolId}" is healthy`);
    } else if (to === 'degraded' || to === 'unhealthy') {
      const why = error === undefined ? 'no slot came free for a health check' : describeError(error);
      this.#logger[this.#tell(to)](`Pool "${this.#poolId}" is ${to}: ${why}`);
    }
  }

  /** @param changedStatus whether the change of status that it led to has told of it already. */
  connectFailed(error: Error, changedStatus: boolean): void {
    const level = changedStatus ? 'debug' : this.#tell('degraded');
    this.#logger[level](`Pool "${this.#poolId}" could not connect: ${describeError(error)}`);
  }

  /** A backend that comes and goes is in one outage all the time: it has to have been back for a while. */
  #tell(what: 'degraded' | 'unhealthy'): 'warn' | 'debug' {
    const healthyAtMs = this.#healthyAtMs;
    if (healthyAtMs !== undefined && this.#clock.now() - healthyAtMs >= STABLE_MS) this.#told = 'nothing';
    this.#healthyAtMs = undefined;
    if (this.#told === 'unhealthy' || this.#told === what) return 'debug';
    this.#told = what;
    return this.#outage?.said === true ? 'debug' : 'warn';
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
    (message: string): void => {
      try {
        logger[level](message);
      } catch {
        // There is nowhere left to report it.
      }
    };
  return { log: guarded('log'), warn: guarded('warn'), error: guarded('error'), debug: guarded('debug') };
}
