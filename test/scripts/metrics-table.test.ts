import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { poolMetrics, tenantMetrics } from '../../lib/observability/pool-metrics.js';

const script = fileURLToPath(new URL('../../scripts/metrics-table.mjs', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

describe('the reference of metrics', () => {
  let folder: string;
  let page: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'metrics-table-'));
    page = join(folder, 'metrics.md');
    writeFileSync(page, 'before\n<!-- metrics:begin -->\nthose of last year\n<!-- metrics:end -->\nafter\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is refused while it is not what is exported', () => {
    const { status, stderr } = run('--check', page);
    expect(stderr).toContain('npm run metrics-table');
    expect(status).toBe(1);
    expect(readFileSync(page, 'utf8')).toContain('last year');
  }, 60_000);

  it('names every metric, with its type and labels', () => {
    expect(run(page).status).toBe(0);
    expect(run('--check', page).status).toBe(0);
    const text = readFileSync(page, 'utf8');
    const names = [...text.matchAll(/^\| `(pool_manager_\w+)`/gm)].map(([, name]) => name);
    expect(names).toEqual([...poolMetrics, ...tenantMetrics].map(({ name }) => name));
    expect(text).toContain('| `pool_manager_timeouts_total` | counter | `pool`, `type`, `kind` |');
  }, 60_000);

  it('is fresh', () => {
    expect(run('--check').status).toBe(0);
  }, 60_000);
});
