/**
 * Runs benchmarks by name, all of them by default, each in a process of its own so that none warms or litters
 * another's.
 *
 * `npm run bench -- acquire fairness --json figures.json`
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { printRows, type Row } from './harness/rows.js';

const here = dirname(fileURLToPath(import.meta.url));
const SUFFIX = '.bench.js';
const known = readdirSync(here)
  .filter((file) => file.endsWith(SUFFIX))
  .map((file) => file.slice(0, -SUFFIX.length));

const { positionals, values } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } });
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(
    `There is no benchmark ${unknown.map((name) => `"${name}"`).join(', ')}. There are: ${known.join(', ')}.`,
  );
  process.exit(1);
}

const rows: Row[] = [];
for (const name of positionals.length > 0 ? positionals : known) {
  console.log(`\n${name}`);
  const child = fork(join(here, `${name}${SUFFIX}`), { execArgv: ['--expose-gc'] });
  child.on('message', (message: readonly Row[]) => rows.push(...message));
  const [code] = await once(child, 'exit');
  if (code !== 0) {
    console.error(`The benchmark "${name}" failed with exit code ${String(code)}.`);
    process.exitCode = 1;
  }
  printRows(rows.filter((row) => row.bench === name));
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
