/**
 * Code of callers that ioredis runs: callbacks, event listeners, strategies, connectors.
 *
 * Promise: what it throws is logged. ioredis would make it an uncaught exception, or stop in the middle of a reply or
 * of a reconnect: one caller's mistake would cost the process, or a connection that others share.
 */
import type { RedisOptions } from 'ioredis';

import { describeError } from '../engine/redact.js';

/** Where a pool says that a caller's code threw. */
export type ReportThrown = (what: string, error: unknown) => void;

type ConnectorClass = NonNullable<RedisOptions['Connector']>;

/** Reports to a pool's log. */
export function reportTo(poolId: string, log: (message: string) => void): ReportThrown {
  return (what, error) => log(`Pool "${poolId}": ${what} threw ${describeError(error)}`);
}

/** `fn`, with the result of `instead` when it throws. */
export function guarded<A extends unknown[], R>(
  fn: (...args: A) => R,
  what: string,
  report: ReportThrown,
  instead: (...args: A) => R,
): (...args: A) => R {
  return function (this: unknown, ...args: A): R {
    try {
      return fn.apply(this, args);
    } catch (error) {
      report(what, error);
      return instead(...args);
    }
  };
}

/** A callback or a listener, which can't disturb the connection that calls it. */
export function guardedCallback(
  callback: (...args: never[]) => unknown,
  what: string,
  report: ReportThrown,
): (...args: unknown[]) => void {
  return function (this: unknown, ...args: unknown[]): void {
    try {
      void Reflect.apply(callback, this, args);
    } catch (error) {
      report(what, error);
    }
  };
}

/** Has a callback in ioredis' style told how `promise` ends, in the context of this call. */
export function told<T>(promise: Promise<T>, callback: unknown, report: ReportThrown): Promise<T> {
  if (!isFunction(callback)) return promise;
  const tell = guardedCallback(callback, 'a callback', report);
  promise.then(
    (value) => (value === undefined ? tell(null) : tell(null, value)),
    (error: unknown) => tell(error),
  );
  return promise;
}

/** `method`, with the callback guarded that it may get as its last argument. `this` decides where it is reported. */
export function guardingCallback(
  method: (...args: never[]) => unknown,
  reportOf: (self: object) => ReportThrown | undefined,
): (...args: unknown[]) => unknown {
  return function (this: object, ...args: unknown[]): unknown {
    const callback = args.at(-1);
    const report = isFunction(callback) ? reportOf(this) : undefined;
    if (isFunction(callback) && report !== undefined)
      args[args.length - 1] = guardedCallback(callback, 'a callback', report);
    return Reflect.apply(method, this, args);
  };
}

export function isFunction(value: unknown): value is (...args: never[]) => unknown {
  return typeof value === 'function';
}

/** A connector whose methods fail in the ways that ioredis expects: a connect that rejects, a check that says no. */
export function guardedConnector(Connector: ConnectorClass, report: ReportThrown): ConnectorClass {
  return new Proxy(Connector, {
    construct(target, [options]: readonly unknown[]) {
      const connector = new target(options);
      const connect = connector.connect.bind(connector);
      connector.connect = async (emit) => connect(emit);
      const check = connector.check.bind(connector);
      connector.check = guarded(
        (info: unknown) => check(info),
        'check() of the connector',
        report,
        () => false,
      );
      connector.disconnect = guarded(
        connector.disconnect.bind(connector),
        'disconnect() of the connector',
        report,
        () => undefined,
      );
      return connector;
    },
  });
}
