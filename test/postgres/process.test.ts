import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { startChild } from '../support/children.js';
import type { TestDatabase } from '../support/databases.js';
import { withDatabase } from '../support/with-database.js';

let database: TestDatabase;
withDatabase((made) => (database = made));

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

describe('a process with an idle pool', () => {
  it('ends by itself', async () => {
    const child = startChild(process.execPath, [
      '--import',
      pathOf('../support/typescript/register.mjs'),
      pathOf('./programs/idle.ts'),
      database.url,
    ]);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.output()).toContain('forgotten');
  });
});
