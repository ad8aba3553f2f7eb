import { describe, expect, it } from '@jest/globals';

import { redact } from '../../lib/engine/redact.js';

describe('text that may reach a log', () => {
  it.each([
    ['postgres://orders:hunter2@db:5432/x', 'postgres://***@db:5432/x'],
    ['1postgres://orders:hunter2@db', '1postgres://***@db'],
    ['see redis://:p%40ss@cache and https://u@host/path', 'see redis://***@cache and https://***@host/path'],
    ['password=hunter2 host=db', 'password=*** host=db'],
    // A word of ours may be somebody's password.
    ['password: must go', 'password: *** go'],
    ['token: is hunter2', 'token: *** hunter2'],
    ['{"password": "hun ter2"}', '{"password": ***}'],
    ['http://host/path?mail=a@b', 'http://host/path?mail=a@b'],
  ])('%s', (text, safe) => {
    expect(redact(text)).toBe(safe);
  });

  it('may be one endless word', () => {
    const word = 'm'.repeat(300_000);
    expect(redact(word)).toBe(word);
  });
});
