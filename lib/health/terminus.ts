/**
 * Terminus behind the health routes: an optional package, loaded when an application makes use of them.
 */
import type { FactoryProvider } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import type { HealthCheckService } from '@nestjs/terminus';

import { describeError } from '../engine/redact.js';
import { PoolConfigError } from '../errors.js';

export type Terminus = typeof import('@nestjs/terminus');

/** @throws PoolConfigError that names the package to install. */
export async function loadTerminus(): Promise<Terminus> {
  try {
    return await import('@nestjs/terminus');
  } catch (cause) {
    const rule =
      `needs the package "@nestjs/terminus", which could not be loaded (${describeError(cause)}). ` +
      `Install it: npm install @nestjs/terminus, or with Nest 11: npm install @nestjs/terminus@11`;
    throw new PoolConfigError([{ key: 'PoolHealthModule', rule }], { cause });
  }
}

/** Injection token of Terminus' service that runs the checks of a route. */
export const HEALTH_CHECKS = Symbol('nestjs-pool-manager:health-checks');

/**
 * Makes Terminus' service in the application, while its other providers are made. Terminus' module can't be named among
 * the imports of ours: it would have to be there when ours is declared.
 */
export const healthChecks: FactoryProvider<Promise<HealthCheckService>> = {
  provide: HEALTH_CHECKS,
  inject: [LazyModuleLoader],
  useFactory: async (modules: LazyModuleLoader) => {
    const { HealthCheckService, TerminusModule } = await loadTerminus();
    // Terminus would log every request that finds something down; the pools log when their state changes.
    const terminus = await modules.load(() => TerminusModule.forRoot({ logger: false }));
    return terminus.get(HealthCheckService);
  },
};
