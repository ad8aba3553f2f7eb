/**
 * Which statements may travel together.
 *
 * Only one that can leave no transaction open is followed by another before it is answered: what is behind it would
 * become a part of that transaction. And only small ones are, so that a packet has a bound.
 */
import { isDate } from 'node:util/types';

import { firstWordOf } from './sql-statements.js';

/** Neither opens, ends nor moves a transaction, nor does anything but read and write rows. */
const PLAIN = /^(?:select|insert|update|delete|merge|with|values|table)\b/i;
/** Changes rows, and returns them where it says RETURNING. */
const CHANGES_ROWS = /^(?:insert|update|delete|merge)\b/i;
/** A text that has it in a literal is taken for one that returns rows. */
const RETURNING = /\breturning\b/i;
/** The longest text of a statement that travels with others, and all its values, in characters or bytes. */
const SMALL = 4_096;
/** What any value takes, in bytes, however short it is. */
const LEAST_OF_A_VALUE = 16;

/** Whether the statement `text` may be followed by another before it is answered. */
export function isBatchable(text: string, values: readonly unknown[] | undefined): boolean {
  return isSmall(text, values) && isPlain(text);
}

/** Whether the statement `text` neither opens, ends nor moves a transaction. */
export function isPlain(text: string): boolean {
  return PLAIN.test(text) || PLAIN.test(firstWordOf(text));
}

/** Whether the statement `text` is known to return no rows. */
export function returnsNoRows(text: string): boolean {
  return (CHANGES_ROWS.test(text) || CHANGES_ROWS.test(firstWordOf(text))) && !RETURNING.test(text);
}

function isSmall(text: string, values: readonly unknown[] | undefined): boolean {
  if (text.length > SMALL) return false;
  // What isn't an array the statement itself refuses when it is sent.
  return values === undefined || (Array.isArray(values) && sizeOf(values) <= SMALL);
}

/** How much `values` take; `Infinity`: that isn't known, because code of the caller's makes something else of them. */
function sizeOf(values: readonly unknown[]): number {
  let size = 0;
  for (let at = 0; at < values.length && size <= SMALL; at++) {
    const value = values[at];
    size += LEAST_OF_A_VALUE + (Array.isArray(value) ? sizeOf(value) : sizeOfValue(value));
  }
  return size;
}

function sizeOfValue(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value === 'function') return Infinity;
  if (typeof value !== 'object' || value === null || isDate(value)) return 0;
  return ArrayBuffer.isView(value) ? value.byteLength : Infinity;
}
