import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { TenantInvalidError } from '../../lib/errors.js';
import { assertTenantId, isTenantId } from '../../lib/tenancy/tenant-id.js';

describe('A tenant id', () => {
  it.each([
    'a',
    'acme',
    'Acme Inc.',
    '0b6f7c1e-5d0a-4c8e-9a57-3f2b9d1f8a11',
    'org:7/eu~west',
    "O'Brien & Söhne",
    '東京支社',
    'x'.repeat(128),
    '東'.repeat(128),
    '😀'.repeat(128),
  ])('may be %p', (id) => {
    expect(isTenantId(id)).toBe(true);
    expect(() => assertTenantId(id)).not.toThrow();
  });

  it.each([
    ['empty', '', 'is empty'],
    ['129 characters long', 'x'.repeat(129), 'too long (129 characters)'],
    ['129 characters outside ASCII long', '東'.repeat(129), 'too long (129 characters)'],
    ['a whole document', 'x'.repeat(100_000), 'too long (100000 UTF-16 units)'],
    ['one space', ' ', 'begins or ends with a space'],
    ['led by a space', ' acme', 'begins or ends with a space'],
    ['followed by a space', 'acme ', 'begins or ends with a space'],
    ['with a NUL', 'ac\u0000me', 'U+0000'],
    ['with a line feed', 'acme\n', 'U+000A) at position 4'],
    ['with a DEL', 'acme\u007f', 'U+007F'],
    ['with a C1 control', 'acme\u0085', 'U+0085'],
    ['with a no-break space', 'ac\u00a0me', 'U+00A0'],
    ['with a line separator', 'ac\u2028me', 'U+2028'],
    ['with a zero-width space', 'ac\u200bme', 'U+200B'],
    ['with a zero-width joiner', 'ac\u200dme', 'U+200D'],
    ['written from right to left by an override', '\u202eemca', 'U+202E'],
    ['with a byte order mark', '\ufeffacme', 'U+FEFF'],
    ['with a variation selector', 'acme\ufe0f', 'U+FE0F'],
    ['with an invisible letter', 'ac\u3164me', 'U+3164'],
    ['with half a surrogate pair', 'ac\ud800me', 'U+D800'],
    ['with a private-use character', 'ac\ue000me', 'U+E000'],
    ['with an unassigned character', 'ac\u0378me', 'U+0378'],
    ['a number', 7, 'of type number'],
    ['null', null, 'is null'],
    ['nothing', undefined, 'of type undefined'],
    ['a list', ['acme'], 'of type object'],
    ['a String object', new String('acme'), 'of type object'],
  ])('may not be %s', (_, value, why) => {
    expect(isTenantId(value)).toBe(false);
    expect(() => assertTenantId(value)).toThrow(TenantInvalidError);
    expect(() => assertTenantId(value)).toThrow(why);
  });

  it('is not repeated by the error, because it may be a secret that was sent in its place', () => {
    expect(() => assertTenantId('hunter2\n')).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    );
  });

  it('is decided for ASCII as it is for everything else', () => {
    const slow = (id: string): boolean =>
      /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,128}$/u.test(id) && !/^ | $|\p{Default_Ignorable_Code_Point}/u.test(id);
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 140 }), fc.string({ unit: 'binary', maxLength: 140 })), (id) => {
        expect(isTenantId(id)).toBe(slow(id));
      }),
    );
  });
});
