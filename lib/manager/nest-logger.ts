/**
 * Writes to the logger of a Nest application: Nest's own, or one of a library.
 *
 * Nest's interface says nothing of messages with fields, and loggers differ: Nest 12's own takes them as a second
 * argument, Nest 11's prints that as a message of its own, Pino's and Winston's take them as properties of the message.
 * So a message with fields is one object: one line where it is printed as text, its properties where it is written as
 * JSON or copied.
 */
import { inspect } from 'node:util';

import { ConsoleLogger, Logger } from '@nestjs/common';

import type { PoolLogger } from '../pool/pool-log.js';

/** Nest's logger, which stands for what the application logs with, made fit for fields; any other logger as it is. */
export function fitLogger(logger: PoolLogger): PoolLogger {
  return logger instanceof Logger || logger instanceof ConsoleLogger ? nestLogger(logger) : logger;
}

function nestLogger(logger: Logger | ConsoleLogger): PoolLogger {
  const writer =
    (level: keyof PoolLogger) =>
    (message: string, fields?: object): void => {
      if (fields === undefined) return logger[level](message);
      try {
        logger[level](new LogEntry(message, fields));
      } catch {
        // The application's own logger takes texts only.
        logger[level](message);
      }
    };
  return {
    log: writer('log'),
    warn: writer('warn'),
    error: writer('error'),
    debug: writer('debug'),
  };
}

/** A class, because Nest's logger has only plain objects printed property by property. */
class LogEntry {
  readonly message: string;
  /** The same once more: Pino copies the properties, and has the text of a line under this name. */
  readonly msg: string;

  constructor(message: string, fields: object) {
    this.message = message;
    this.msg = message;
    Object.assign(this, fields);
  }

  /** Where the entry itself is written as JSON, its text stands there once. */
  toJSON(): object {
    return { ...this, msg: undefined };
  }

  toString(): string {
    return this.message;
  }

  [inspect.custom](): string {
    return this.message;
  }
}
