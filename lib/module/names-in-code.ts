/**
 * Which names the code of this process has written down: of pools and managers that something asks a token for, and of
 * registrations.
 *
 * Promise: they are there before Nest builds an application, because decorators and `forRoot` run when their files are
 * loaded. They are part of the code, and so few; what asks for more than these at run time has no token to find.
 */

/** The pools that are asked for, by manager; a manager may be asked for without any. */
const asked = new Map<string, Set<string>>();
const registrations = new Set<string>();
const MOST_NAMES = 1_000;

/** Remembers that a token of the manager was asked for. */
export function rememberManager(manager: string): Set<string> | undefined {
  let names = asked.get(manager);
  if (names === undefined && asked.size < MOST_NAMES) asked.set(manager, (names = new Set()));
  return names;
}

/** Remembers that a token of the pool was asked for. */
export function rememberPool(pool: string, manager: string): void {
  const names = rememberManager(manager);
  if (names !== undefined && names.size < MOST_NAMES) names.add(pool);
}

export function rememberRegistration(name: string): void {
  registrations.add(name);
}

/** The managers whose own token, or that of a pool, was asked for. */
export function askedManagers(): Iterable<string> {
  return asked.keys();
}

/** The pools of a registration that something in this process may inject. */
export function askedPools(manager: string): Iterable<string> {
  return asked.get(manager) ?? [];
}

/** The registrations of every application of this process. */
export function registrationNames(): ReadonlySet<string> {
  return registrations;
}
