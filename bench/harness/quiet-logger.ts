/**
 * A logger for pools under measurement: what goes well is not printed between the figures, what goes wrong is.
 */
import type { PoolLogger } from 'nestjs-pool-manager';

export const quietLogger: PoolLogger = {
  log: () => undefined,
  debug: () => undefined,
  warn: (message: string) => console.warn(`  warning: ${message}`),
  error: (message: string) => console.error(`  error: ${message}`),
};
