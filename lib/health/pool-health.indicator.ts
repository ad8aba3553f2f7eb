/**
 * Pools as Terminus sees them.
 *
 * Promises: an answer is never later than `timeoutMs`, asking often doesn't load the backends, and nothing in an answer
 * names a host, a URL, a credential or a driver's message.
 */
import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';

import { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import { PoolHandle } from '../pool/pool-handle.js';
import type { HealthCheckRequest, PoolStatus } from '../pool/pool-health.js';
import type { PoolType } from '../pool/pool-type.js';
import { loadTerminus } from './terminus.js';

/** How long an answer about health may take, and how old what it says may be. */
export interface PoolHealthOptions {
  /**
   * How long to wait for a probe, in milliseconds, before answering with what is known already. Default 800: less than
   * the second that an orchestrator waits unless told otherwise.
   */
  readonly timeoutMs?: number;
  /** A probe no older than this, in milliseconds, is good enough. Default 1,000. */
  readonly maxAgeMs?: number;
}

/** How a pool is, in words of Terminus. */
type Verdict = 'up' | 'degraded' | 'down';

/** All that an answer says beside the verdict. */
interface PublicDetails extends Record<string, unknown> {
  readonly state: PoolStatus | 'overridden';
  readonly type?: PoolType;
  readonly critical?: boolean;
}

/**
 * Pools in health routes of one's own, as an indicator of Terminus. Exported by `PoolHealthModule`.
 *
 * @example
 * @Get('health') @HealthCheck()
 * check() {
 *   return this.health.check([() => this.pools.check('orders'), () => this.pools.check('cache')]);
 * }
 */
@Injectable()
export class PoolHealthIndicator {
  /** @internal Made by Nest. */
  constructor(@Inject(ConnectionPoolManager) private readonly manager: ConnectionPoolManager) {}

  /**
   * One pool, under its own name. A pool that isn't critical is degraded at worst. With Terminus 11, which has no word
   * for it, a degraded pool is up and its data says `degraded: true`.
   *
   * @throws {PoolNotFoundError}
   * @throws {PoolConfigError} when the package `@nestjs/terminus` isn't installed, as the other checks do.
   */
  async check<const Id extends string>(id: Id, options: PoolHealthOptions = {}): Promise<HealthIndicatorResult<Id>> {
    const pool = this.manager.getPool(id);
    // What a test put in the pool's place has no health of its own.
    if (!(pool instanceof PoolHandle)) return this.answer(id, 'up', { state: 'overridden' });
    const { status } = await pool.healthCheck(request(options));
    return this.report(id, pool.type, pool.config.critical, status);
  }

  /** Every pool of the manager, each under its name. */
  async checkAll(options: PoolHealthOptions = {}): Promise<HealthIndicatorResult> {
    await this.manager.healthCheck(request(options));
    const answers = await Promise.all(
      this.manager.listPools().map(({ id, type, critical, status }) => this.report(id, type, critical, status)),
    );
    return answers.reduce<HealthIndicatorResult>((all, one) => ({ ...all, ...one }), {});
  }

  /**
   * Whether requests should be sent here, under the key `pools`: down until the application has started, while a
   * critical pool is unavailable, and from the beginning of the shutdown on.
   */
  async checkReadiness(options: PoolHealthOptions = {}): Promise<HealthIndicatorResult<'pools'>> {
    const { ready, status } = await this.manager.healthCheck(request(options));
    const verdict = !ready ? 'down' : status === 'healthy' ? 'up' : 'degraded';
    return this.answer('pools', verdict, { state: status });
  }

  private report<const Id extends string>(
    id: Id,
    type: PoolType,
    critical: boolean,
    status: PoolStatus,
  ): Promise<HealthIndicatorResult<Id>> {
    const state = this.manager.isStopping && status !== 'closed' ? 'draining' : status;
    return this.answer(id, verdictOn(state, critical), { state, type, critical });
  }

  private async answer<const Key extends string>(
    key: Key,
    verdict: Verdict,
    details: PublicDetails,
  ): Promise<HealthIndicatorResult<Key>> {
    const { HealthIndicatorService } = await loadTerminus();
    const session = new HealthIndicatorService().check(key);
    switch (verdict) {
      case 'up':
        return session.up(details);
      case 'down':
        return session.down(details);
      case 'degraded':
        // Only Terminus 12 knows the word.
        return 'degraded' in session ? session.degraded(details) : upButDegraded(session, details);
    }
  }
}

function upButDegraded<const Key extends string>(
  session: { up(details: Record<string, unknown>): HealthIndicatorResult<Key> },
  details: PublicDetails,
): HealthIndicatorResult<Key> {
  return session.up({ ...details, degraded: true });
}

function verdictOn(state: PoolStatus, critical: boolean): Verdict {
  switch (state) {
    case 'healthy':
      return 'up';
    case 'degraded':
      return 'degraded';
    case 'starting':
    case 'unhealthy':
      return critical ? 'down' : 'degraded';
    case 'draining':
    case 'closed':
      return 'down';
  }
}

function request({ timeoutMs = 800, maxAgeMs = 1_000 }: PoolHealthOptions): HealthCheckRequest {
  return { waitMs: timeoutMs, maxAgeMs };
}
