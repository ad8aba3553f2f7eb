/**
 * Health routes, ready-made: `/health` tells about every pool, `/health/ready` whether to send requests here,
 * `/health/live` whether the process can answer at all. They ask for no tenant and are the same in each version that an
 * API is at.
 */
import { Controller, Get, Header, Inject, VERSION_NEUTRAL } from '@nestjs/common';
import { HealthCheck, type HealthCheckResult, HealthCheckService } from '@nestjs/terminus';

import { SkipTenant } from '../tenancy/tenant.decorators.js';
import { PoolHealthIndicator } from './pool-health.indicator.js';

@SkipTenant()
@Controller({ path: 'health', version: VERSION_NEUTRAL })
export class PoolHealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(PoolHealthIndicator) private readonly pools: PoolHealthIndicator,
  ) {}

  /** 200 while every critical pool is available, else 503; both with the state of each pool. */
  @Get()
  @HealthCheck()
  all(): Promise<HealthCheckResult> {
    return this.health.check([() => this.pools.checkAll()]);
  }

  /**
   * 200 from the end of the start until the beginning of the shutdown, while every critical pool is available; else
   * 503.
   */
  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.pools.checkReadiness()]);
  }

  /** Always 200. A process whose database is down must not be restarted for it, so no pool is touched. */
  @Get('live')
  @Header('Cache-Control', 'no-cache, no-store, must-revalidate')
  live(): { readonly status: 'ok' } {
    return { status: 'ok' };
  }
}
