/**
 * Claim: importing the package costs an application no more than zod, which it may have anyway, and 100 ms.
 *
 * Each measurement is a process of its own, and its figure the processor time of that process beyond one that imports
 * Nest alone: no test file and no script of an application waits for less.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { bench } from './harness/bench.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';

const ROUNDS = 15;
const BUDGET_MS = 100;
const NEST = ['@nestjs/common', '@nestjs/core'];
const here = fileURLToPath(new URL('.', import.meta.url));

const subjects = { Nest: NEST, zod: [...NEST, 'zod'], [OURS]: [...NEST, OURS] };

/** Milliseconds of processor time from the start of a process to its end. */
function cost(packages: readonly string[]): number {
  const program = `${packages.map((name) => `await import('${name}');`).join('\n')}
    const { user, system } = process.cpuUsage();
    process.stdout.write(String((user + system) / 1_000));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: here,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The import failed: ${stderr}`);
  return Number(stdout);
}

await bench('import', async (report) => {
  const rounds = await Rounds.run(
    Object.entries(subjects).map(([name, packages]) => ({ name, measure: () => cost(packages) })),
    ROUNDS,
  );
  const beyondNest = (subject: string): number => rounds.median(subject) - rounds.median('Nest');
  for (const subject of ['zod', OURS])
    report.add({ case: 'import', subject, value: beyondNest(subject), unit: 'ms beyond Nest', better: 'lower' });
  report.claim('beyond zod alone', beyondNest(OURS) - beyondNest('zod'), 'lower', BUDGET_MS, 'ms');
});
