/**
 * Looks into a text of several statements for one that would leave those behind it without their tenant.
 *
 * Between statements of one text nothing can be put: what undoes the binding of a lease, or ends its transaction, can't
 * be followed by a new binding there. Sent one by one the same statements are fine.
 */
import type { TenantSetting } from '../isolation.js';
import { ANY_NAME, type SqlStatement, statementsOf } from './sql-statements.js';

const ENDS_TRANSACTION =
  /^(?:commit|end|abort|prepare\s+transaction)\b|^rollback\b(?!\s+(?:(?:work|transaction)\s+)?to\b)/i;

/** Those that give a setting another value: more than one name leads to some of them. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  role: ['role', 'session\\s+authorization'],
  search_path: ['search_path', 'schema'],
};

/** Where the lease stands. */
export interface ScriptBounds {
  /** What the lease is bound by. */
  readonly setting: TenantSetting | undefined;
  readonly isTransaction: boolean;
}

/** `ROLLBACK TO SAVEPOINT`, which leaves a transaction as it is. */
const TO_SAVEPOINT = /^rollback (?:(?:work|transaction) )?to\b/;
const ROLLS_BACK = /^(?:rollback|abort)\b/;

/** Decides over a transaction, or over a part of one, by its first word. */
const DECIDES = /^(?:commit|rollback|end|abort|release)\b/;

/** @returns whether `text` begins with the end of a transaction (prepared ones included) or of a savepoint. */
export function endsTransaction(text: string): boolean {
  const [first] = statementsOf(text);
  return first !== undefined && DECIDES.test(first.words);
}

/** @returns whether all that `text` rolls back are parts of a transaction. */
export function rollsBackParts(text: string): boolean {
  const rollbacks = statementsOf(text).filter(({ words }) => ROLLS_BACK.test(words));
  return rollbacks.length > 0 && rollbacks.every(({ words }) => TO_SAVEPOINT.test(words));
}

/** @returns the first statement of `text` that must not be followed by another one in the same text. */
export function unboundBehind(text: string, { setting, isTransaction }: ScriptBounds): string | undefined {
  if (setting === undefined && !isTransaction) return undefined;
  const undoes = setting === undefined ? undefined : undoing(setting);
  // How the server reads a backslash is a setting of the session, which may have changed it: neither reading may undo.
  const readings = text.includes('\\') ? [false, true] : [false];
  return readings
    .flatMap((escapes) => statementsOf(text, escapes).slice(0, -1))
    .find((statement) => (isTransaction && ENDS_TRANSACTION.test(statement.words)) || undoes?.(statement) === true)
    ?.words;
}

/** A call of the function that does what SET does, and the setting it names. */
const SET_CONFIG = new RegExp(`(?:set_config|${ANY_NAME}) \\((?: '([\\w.]+)' ,)?`, 'g');

function undoing({ name }: TenantSetting): (statement: SqlStatement) => boolean {
  const ownName = name.toLowerCase();
  const own = Object.hasOwn(ALIASES, ownName) ? (ALIASES[ownName] ?? []) : [ownName.replaceAll(/[^\w]/g, '\\$&')];
  const names = [...own, ANY_NAME].join('|');
  const command = `(?:discard\\s+all|reset\\s+all|(?:reset|set(?:\\s+(?:local|session))?)\\s+(?:${names}))(?!\\w)`;
  const isCommand = new RegExp(`^${command}`);
  // In the body of a block, which is not taken apart.
  const inBody = new RegExp(`\\b(?:${command.replaceAll('\\s+', '[\\s"]+')}|set_config\\b)`, 'i');
  return ({ words, raw }) => {
    if (isCommand.test(words) || (words.startsWith('update ') && words.includes('pg_settings'))) return true;
    if (words.startsWith('do ') && inBody.test(raw)) return true;
    return [...words.matchAll(SET_CONFIG)].some(
      ([, set]) => set === undefined || set === ownName || set === 'session_authorization',
    );
  };
}
