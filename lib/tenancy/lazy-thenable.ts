/**
 * Thenables that do their work when they are awaited: query builders (Drizzle, Knex, Mongoose), Prisma's promises.
 *
 * A context that ends before the caller's `await` would start them in the caller's own context: as another tenant, or
 * as none. Promise: what such an object does, it does in the context in which `started` was called.
 */

/**
 * `value` itself, unless it is a thenable other than a native promise: that is started now, and a native promise of its
 * outcome is returned. A native promise has begun its work already, and keeps its identity.
 */
export function started(value: unknown): unknown {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return value;
  const then = thenOf(value);
  if (typeof then !== 'function') return value;
  // A subclass may start its work in a `then` of its own.
  if (value instanceof Promise && then === Promise.prototype.then) return value;
  // `then` is called here, synchronously. Resolving a promise with the thenable would call it in a later job.
  return new Promise((resolve, reject) => void Reflect.apply(then, value, [resolve, reject]));
}

/**
 * Read once, because a getter may start work. Where it throws, awaiting the value fails in the same way; others may not
 * await it.
 */
function thenOf(value: object): unknown {
  try {
    return Reflect.get(value, 'then');
  } catch {
    return undefined;
  }
}
