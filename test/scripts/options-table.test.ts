import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const script = fileURLToPath(new URL('../../scripts/options-table.mjs', import.meta.url));

/** Runs the script on `readme`; its exit code. */
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

describe('the table of options', () => {
  let folder: string;
  let readme: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'options-table-'));
    readme = join(folder, 'README.md');
    writeFileSync(readme, 'before\n<!-- options:begin -->\nthe table of last year\n<!-- options:end -->\nafter\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is refused while it is not what the schemas say, and left alone by the check', () => {
    const { status, stderr } = run('--check', readme);
    expect(stderr).toContain('out of date');
    expect(status).toBe(1);
    expect(readFileSync(readme, 'utf8')).toContain('last year');
  }, 60_000);

  it('is written between its marks, and then is up to date', () => {
    expect(run(readme).status).toBe(0);
    expect(run('--check', readme).status).toBe(0);
    const text = readFileSync(readme, 'utf8');
    expect(text).toMatch(/^before\n<!-- options:begin -->\n[^]*<!-- options:end -->\nafter\n$/);
    expect(text).not.toContain('last year');
    for (const row of [
      '| `maxSize` | whole number, at least 1 | `10` | Slots that may be open at once, in whatever state. |',
      '| `maxSize` | whole number, at least 1 | `100` | Requests that may be in flight at once. |',
      '| `acquireTimeoutMs` | ms, at least 1 | `10_000` | How long an acquire waits unless it says otherwise. |',
      '| `tenants.overrides.*.max` | whole number, at least 1, or Infinity | as for all |',
      "| `isolation.setting` | text | `'app.tenant_id'` | With `'rls'`.",
      '| `connectionString` | text | the environment variable `DATABASE_URL` |',
      '| `shutdown.drainTimeoutMs` | ms, at least 0 | `10_000` |',
    ]) {
      expect(text).toContain(row);
    }
  }, 60_000);

  it('needs a file with marks', () => {
    const unmarked = join(folder, 'other.md');
    writeFileSync(unmarked, 'no marks');
    expect(run(unmarked).status).not.toBe(0);
    expect(readFileSync(unmarked, 'utf8')).toBe('no marks');
  }, 60_000);
});
