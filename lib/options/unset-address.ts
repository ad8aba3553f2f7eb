/**
 * Addresses that were made of a variable which is not set.
 */

const NOT_SET = 'is the variable that it is read from set?';

/** What to add where an address is required, and was given as undefined. */
export function givenAsUndefined(options: object, name: string): string {
  return Object.hasOwn(options, name) ? `. It was given as undefined: ${NOT_SET}` : '';
}

/** What is wrong with an address that is empty, or has the word that a template makes of an unset variable. */
export function unsetAddressProblem(text: string): string | undefined {
  if (text.trim() === '') return `must not be empty: ${NOT_SET}`;
  return text.split(/[/:@?#&=]/).includes('undefined')
    ? 'must not have "undefined" in the place of a part: a variable that it is made of is not set'
    : undefined;
}
