/**
 * Health routes, ready-made: `/health` tells about every pool, `/health/ready` whether to send requests here,
 * `/health/live` whether the process can answer at all. They ask for no tenant and are the same in each version that an
 * API is at.
 */
import { applyDecorators, Controller, Get, Header, Inject, type Type, VERSION_NEUTRAL } from '@nestjs/common';
import type { HealthCheckResult, HealthCheckService } from '@nestjs/terminus';

import { SkipTenant } from '../tenancy/tenant.decorators.js';
import { PoolHealthIndicator, type PoolHealthOptions } from './pool-health.indicator.js';
import type { ResolvedPoolHealthModuleOptions } from './pool-health.options.js';
import { HEALTH_CHECKS } from './terminus.js';

/** What answers a health route. */
export interface PoolHealthRoutes {
  /** 200 while every critical pool is available, else 503; both with the state of each pool. */
  all(): Promise<HealthCheckResult>;
  /**
   * 200 from the end of the start until the beginning of the shutdown, while every critical pool is available; else
   * 503.
   */
  ready(): Promise<HealthCheckResult>;
  /** Always 200. A process whose database is down must not be restarted for it, so no pool is touched. */
  live(): { readonly status: 'ok' };
}

/** The controller of one registration of the module: Nest reads its paths from the class. */
export function poolHealthController(options: ResolvedPoolHealthModuleOptions): Type<PoolHealthRoutes> {
  const limits: PoolHealthOptions = {
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    ...(options.maxAgeMs !== undefined && { maxAgeMs: options.maxAgeMs }),
  };

  @SkipTenant()
  @Controller({ path: options.path, version: VERSION_NEUTRAL })
  @applyDecorators(...options.decorators)
  class PoolHealthController implements PoolHealthRoutes {
    constructor(
      @Inject(HEALTH_CHECKS) private readonly health: HealthCheckService,
      @Inject(PoolHealthIndicator) private readonly pools: PoolHealthIndicator,
    ) {}

    @Route(options.all)
    all(): Promise<HealthCheckResult> {
      return this.health.check([() => this.pools.checkAll(limits)]);
    }

    @Route(options.ready)
    ready(): Promise<HealthCheckResult> {
      return this.health.check([() => this.pools.checkReadiness(limits)]);
    }

    @Route(options.live)
    live(): { readonly status: 'ok' } {
      return { status: 'ok' };
    }
  }
  return PoolHealthController;
}

/** No route at all where there is no path. An answer about health is never kept by a cache. */
function Route(path: string | false): MethodDecorator {
  return path === false
    ? applyDecorators()
    : applyDecorators(Get(path), Header('Cache-Control', 'no-cache, no-store, must-revalidate'));
}
