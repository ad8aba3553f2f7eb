// What can be reached from an object that was handed out: by walking it, by printing it, by cloning it.
import { inspect } from 'node:util';

export interface Unwanted {
  /** Whether a value must not be reachable. */
  readonly isUnwanted: (value: object) => boolean;
  /** Texts that must not be found anywhere. */
  readonly secrets: readonly string[];
}

/** Paths from `root` to what must not be found there; empty when all is well. */
export function leaksOf(root: unknown, unwanted: Unwanted): string[] {
  const leaks = [...walk(root, unwanted)];
  for (const [name, text] of printsOf(root)) {
    for (const secret of unwanted.secrets) if (text.includes(secret)) leaks.push(`${name} prints a secret`);
  }
  return leaks;
}

function* walk(root: unknown, { isUnwanted, secrets }: Unwanted): IterableIterator<string> {
  const seen = new Set<object>();
  const left: [path: string, value: unknown][] = [['it', root]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [path, value] = next;
    if (typeof value === 'string' && secrets.some((secret) => value.includes(secret))) yield `${path} is a secret`;
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue;
    seen.add(value);
    if (path !== 'it' && isUnwanted(value)) {
      yield `${path} is a ${value.constructor.name}`;
      continue;
    }
    for (const key of enumerableKeys(value)) left.push([`${path}.${String(key)}`, read(value, key)]);
    if (value instanceof Map || value instanceof Set) left.push([`${path}[…]`, [...value.entries()]]);
  }
}

/** Own and inherited ones, with symbols. */
function enumerableKeys(value: object): PropertyKey[] {
  const keys: PropertyKey[] = [];
  for (const key in value) keys.push(key);
  for (let of: object | null = value; of !== null; of = Reflect.getPrototypeOf(of)) {
    const from = of;
    keys.push(
      ...Object.getOwnPropertySymbols(from).filter((key) => Object.prototype.propertyIsEnumerable.call(from, key)),
    );
  }
  return keys;
}

function read(value: object, key: PropertyKey): unknown {
  try {
    return Reflect.get(value, key);
  } catch {
    return undefined;
  }
}

function* printsOf(root: unknown): IterableIterator<[name: string, text: string]> {
  yield ['inspect', inspect(root, { depth: Infinity, showHidden: true, getters: true, maxStringLength: Infinity })];
  yield ['JSON', JSON.stringify(root) ?? ''];
  try {
    yield ['a clone', inspect(structuredClone(root), { depth: Infinity, showHidden: true })];
  } catch {
    // What has functions can't be cloned at all.
  }
  yield ['a text', String(root)];
  if (root instanceof Error) yield ['a stack', root.stack ?? ''];
}
