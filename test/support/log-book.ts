/**
 * A logger that keeps what it is told, instead of printing it. For managers and for Nest.
 */
import type { LoggerService } from '@nestjs/common';

import type { PoolLogger } from '../../lib/pool/pool-log.js';

export class LogBook implements PoolLogger, LoggerService {
  /** Every line, with its level in front. */
  readonly lines: string[] = [];

  readonly log = this.writer('log');
  readonly warn = this.writer('warn');
  readonly error = this.writer('error');
  readonly debug = this.writer('debug');

  /** Whether a line of that level says so. */
  says(pattern: RegExp): boolean {
    return this.lines.some((line) => pattern.test(line));
  }

  private writer(level: string): (message: unknown) => void {
    return (message) => void this.lines.push(`${level}: ${String(message)}`);
  }
}
