/**
 * `/health`, `/health/live` and `/health/ready`, and the indicator for health routes of one's own.
 */
import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';

import { PoolHealthController } from './pool-health.controller.js';
import { PoolHealthIndicator } from './pool-health.indicator.js';

/**
 * The routes `/health`, `/health/live` and `/health/ready`, and {@link PoolHealthIndicator} for routes of one's own.
 *
 * @example
 * @Module({ imports: [PoolManagerModule.forRoot({ … }), PoolHealthModule] })
 * class AppModule {}
 *
 * // Below another path:
 * RouterModule.register([{ path: 'internal', module: PoolHealthModule }])
 */
@Module({
  // Terminus would log every request that finds something down; the pools log when their state changes.
  imports: [TerminusModule.forRoot({ logger: false })],
  controllers: [PoolHealthController],
  providers: [PoolHealthIndicator],
  exports: [PoolHealthIndicator],
})
export class PoolHealthModule {}
