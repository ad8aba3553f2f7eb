/**
 * Names for pools that are declared anew.
 */

/** What a name says beside whose pool it is. */
const WORDS_OF_KIND = new Set(
  ['pg', 'postgres', 'postgresql', 'pool', 'db', 'database', 'connection', 'client', 'provider', 'token', 'instance']
    .concat(['http', 'https', 'service', 'module', 'app', 'axios', 'common', 'shared', 'core'])
    .concat(['repository', 'controller', 'resolver', 'store']),
);

/** `REPORTS_PG_POOL` and `reportsPool` are `reports`; where only the kind is left, the fallback. */
export function nameFor(source: string, fallback: string, taken: { has(name: string): boolean }): string {
  const words = source
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.toLowerCase())
    .filter((word) => word !== '' && !WORDS_OF_KIND.has(word));
  const base = words.map((word, at) => (at === 0 ? word : word[0]?.toUpperCase() + word.slice(1))).join('');
  const name = /^[a-z]/.test(base) ? base.slice(0, 60) : fallback;
  let free = name;
  for (let number = 2; taken.has(free); number++) free = `${name}${number}`;
  return free;
}
