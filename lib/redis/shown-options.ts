/**
 * The options of a client as a caller sees them.
 *
 * Promise: they say how the client behaves towards its callers, which ioredis' own options behind it may not (the
 * shared client is made lazy, and queues by itself). A secret is read by its name and in no other way: an enumeration,
 * a spread, `util.inspect` and `JSON.stringify` don't carry it.
 */

/** Options that are, or contain, a secret. */
const SECRETS: ReadonlySet<string> = new Set([
  'password',
  'sentinelPassword',
  'key',
  'pfx',
  'passphrase',
  'pskCallback',
  'secureContext',
]);

/** Options whose own options may be secrets. */
const NESTED: ReadonlySet<string> = new Set(['tls', 'sentinelTLS', 'redisOptions']);

/**
 * @param current the client's own options now; secrets are read from them when they are asked for, for they may change.
 * @param instead what is shown in place of them.
 */
export function shownOptions<O extends object>(current: () => O, instead: object): O {
  const shown = withoutSecrets(current);
  for (const name of Object.keys(instead)) {
    if (!SECRETS.has(name)) show(shown, name, (): unknown => Reflect.get(instead, name));
  }
  return shown;
}

function withoutSecrets<O extends object>(current: () => O): O {
  const own = current();
  const shown = emptyLike(own);
  for (const name of Object.keys(own)) show(shown, name, (): unknown => Reflect.get(current(), name));
  return shown;
}

function show(shown: object, name: string, read: () => unknown): void {
  if (SECRETS.has(name)) {
    Object.defineProperty(shown, name, { get: read, enumerable: false, configurable: true });
    return;
  }
  const value = read();
  Object.defineProperty(shown, name, {
    value: isObject(value) && NESTED.has(name) ? withoutSecrets(() => objectOr(read(), value)) : value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function objectOr(value: unknown, otherwise: object): object {
  return isObject(value) ? value : otherwise;
}

/** Of the same prototype, which is all that the type says of it until its properties are defined. */
function emptyLike<O extends object>(own: O): O {
  const empty: unknown = Object.create(Reflect.getPrototypeOf(own));
  if (!isLike(empty, own)) throw new TypeError('An object can be created with any prototype.');
  return empty;
}

export function isLike<O extends object>(value: unknown, model: O): value is O {
  return isObject(value) && Reflect.getPrototypeOf(value) === Reflect.getPrototypeOf(model);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
