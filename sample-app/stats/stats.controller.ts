import { Controller, Get } from '@nestjs/common';
import { ConnectionPoolManager, InjectPoolManager, type PoolStats, SkipTenant } from 'nestjs-pool-manager';

/** The numbers of every pool. A real service would ask who wants to know. */
@Controller('stats')
@SkipTenant()
export class StatsController {
  constructor(@InjectPoolManager() private readonly pools: ConnectionPoolManager) {}

  @Get()
  all(): Readonly<Record<string, PoolStats>> {
    return this.pools.getStats();
  }
}
