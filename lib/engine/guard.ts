/**
 * Calls into code that isn't the engine's: drivers, observers, receivers. They must not throw, and some do.
 *
 * Promise: what they throw, or what a promise that they return rejects with, goes to `failed` and no further.
 */
import { describeError } from './redact.js';

/** Calls `call`. `failed` is told of what it throws; when it returns a promise, also of its rejection. */
export function guarded(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (isThenable(result)) Promise.resolve(result).catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Whether `value` has a `then`, as a promise has: a function that should return nothing may be an async one. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Emits a process warning for an error that no caller can receive. */
export function warn(type: string, what: string, error: unknown): void {
  process.emitWarning(`${what} threw ${describeError(error)}`, { type });
}
