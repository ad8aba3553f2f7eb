// What an application logs, to be looked at and waited for.
import { EventEmitter, once } from 'node:events';

import type { LoggerService } from '@nestjs/common';

export interface LogLine {
  readonly level: 'log' | 'warn' | 'error';
  readonly message: string;
}

export class CollectedLog implements LoggerService {
  readonly lines: LogLine[] = [];
  readonly #written = new EventEmitter();

  log(message: unknown): void {
    this.#write('log', message);
  }

  warn(message: unknown): void {
    this.#write('warn', message);
  }

  error(message: unknown): void {
    this.#write('error', message);
  }

  /** The first line, written already or yet to come, that contains `part`. */
  async line(part: string): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find((line) => line.message.includes(part));
      if (found !== undefined) return found;
      await once(this.#written, 'line');
    }
  }

  #write(level: LogLine['level'], message: unknown): void {
    this.lines.push({ level, message: message instanceof Error ? message.message : String(message) });
    this.#written.emit('line');
  }
}
