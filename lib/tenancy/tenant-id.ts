/**
 * What a tenant id may look like.
 *
 * An id reaches logs, metrics, SQL settings and messages, so it holds 1 to 128 printable characters and nothing that a
 * reader can't see: no control, format or private-use characters, no lone surrogates, no separators but the plain
 * space, and no space at either end. Two ids are the same tenant only if they are the same string; nothing is trimmed,
 * folded or normalised here.
 *
 * It runs on the path of every acquire that names a tenant: for ASCII ids it is one loop over the characters and
 * allocates nothing.
 */
import { TenantInvalidError } from '../errors.js';

/** The longest id, in characters (code points). */
export const MAX_TENANT_ID_LENGTH = 128;

const SPACE = 0x20;
const LAST_PRINTABLE_ASCII = 0x7e;

/**
 * Letters, marks, numbers, punctuation, symbols and the space, one to 128 of them. Unassigned, private, surrogate and
 * control characters are in none of these classes; characters that are drawn as nothing (variation selectors, Hangul
 * fillers, joiners) are taken out by name.
 */
const PRINTABLE = /^(?:(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{M}\p{N}\p{P}\p{S} ]){1,128}$/u;

/** Whether `value` can be a tenant id. Never throws. */
export function isTenantId(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const length = value.length;
  // A character is at most two UTF-16 units: what is longer than that is refused before anything reads it.
  if (length === 0 || length > 2 * MAX_TENANT_ID_LENGTH) return false;
  if (value.charCodeAt(0) === SPACE || value.charCodeAt(length - 1) === SPACE) return false;
  for (let index = 0; index < length; index++) {
    const unit = value.charCodeAt(index);
    if (unit > LAST_PRINTABLE_ASCII) return PRINTABLE.test(value);
    if (unit < SPACE) return false;
  }
  return length <= MAX_TENANT_ID_LENGTH;
}

/** @throws {TenantInvalidError} when `value` can't be a tenant id. */
export function assertTenantId(value: unknown): asserts value is string {
  if (!isTenantId(value)) throw new TenantInvalidError(faultOf(value));
}

/** What is wrong with it. The value itself is left out: what was sent in place of a tenant id may be a secret. */
function faultOf(value: unknown): string {
  if (typeof value !== 'string')
    return `The tenant id is ${value === null ? 'null' : `of type ${typeof value}`}, not a string`;
  if (value.length === 0) return 'The tenant id is empty';
  if (value.length > 2 * MAX_TENANT_ID_LENGTH) return `The tenant id is too long (${value.length} UTF-16 units)`;
  const characters = [...value];
  if (characters.length > MAX_TENANT_ID_LENGTH) return `The tenant id is too long (${characters.length} characters)`;
  const position = characters.findIndex((character) => !PRINTABLE.test(character));
  const unprintable = characters[position]?.codePointAt(0);
  if (unprintable === undefined) return 'The tenant id begins or ends with a space';
  return `The tenant id has an unprintable character (U+${unprintable.toString(16).toUpperCase().padStart(4, '0')}) at position ${position}`;
}
