/**
 * The service: three pools, the orders, the health routes, the metrics and the numbers.
 */
import { Module } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { fromHeader, PoolHealthModule, PoolManagerModule, PoolMetricsModule } from 'nestjs-pool-manager';

import { Migrations } from './database/migrations.js';
import { OrdersModule } from './orders/orders.module.js';
import { StatsController } from './stats/stats.controller.js';

@Module({
  imports: [
    ConfigModule.forRoot({ isGlobal: true, ignoreEnvFile: true }),
    PoolManagerModule.forRootAsync({
      pools: ['orders', 'cache', 'billing'],
      inject: [ConfigService],
      useFactory: (env: ConfigService) => ({
        applicationName: 'orders-service',
        pools: {
          orders: {
            type: 'database',
            connectionString: env.getOrThrow<string>('DATABASE_URL'),
            maxSize: 12,
            startupTimeoutMs: 10_000,
            acquireTimeoutMs: 2_000,
            // However many requests one tenant sends, eight of the twelve connections are left for the others.
            tenants: { max: 4, maxWaiting: 16 },
            isolation: { mode: 'rls', setting: 'app.tenant_id' },
            leakDetectionMs: 10_000,
          },
          cache: {
            type: 'redis',
            url: env.getOrThrow<string>('REDIS_URL'),
            maxSize: 4,
            startupTimeoutMs: 10_000,
          },
          // Orders are taken while billing is down; invoices are then missing.
          billing: {
            type: 'http',
            baseURL: env.getOrThrow<string>('BILLING_URL'),
            maxSize: 20,
            timeoutMs: 2_000,
            tenants: { max: 8 },
            critical: false,
          },
        },
        tenancy: { resolve: fromHeader('x-tenant-id') },
        shutdown: { drainTimeoutMs: 5_000 },
      }),
    }),
    PoolHealthModule,
    PoolMetricsModule.register({ tenants: { top: 10 } }),
    OrdersModule,
  ],
  controllers: [StatsController],
  providers: [Migrations],
})
export class AppModule {}
