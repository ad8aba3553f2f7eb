import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import * as errors from '../../lib/errors.js';

const script = fileURLToPath(new URL('../../scripts/errors-table.mjs', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

describe('the reference of errors', () => {
  let folder: string;
  let page: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'errors-table-'));
    page = join(folder, 'errors.md');
    writeFileSync(page, 'before\n<!-- errors:begin -->\nthose of last year\n<!-- errors:end -->\nafter\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is refused while it is not what the classes say', () => {
    const { status, stderr } = run('--check', page);
    expect(stderr).toContain('npm run errors-table');
    expect(status).toBe(1);
    expect(readFileSync(page, 'utf8')).toContain('last year');
  }, 60_000);

  it('names every class that is exported, with its code, fields and answer', () => {
    expect(run(page).status).toBe(0);
    expect(run('--check', page).status).toBe(0);
    const text = readFileSync(page, 'utf8');
    const headings = [...text.matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(headings.sort()).toEqual(
      Object.keys(errors)
        .filter((name) => name !== 'PoolError')
        .sort(),
    );
    expect(text).toContain('`code`: `POOL_TENANT_LIMIT`. Answer: 429 with `Retry-After`.');
    expect(text).toContain('- `sent`: Whether the backend may have carried it out');
  }, 60_000);
});
