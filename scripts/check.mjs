/**
 * `npm run check`: everything about the sources that a machine can judge, without running them. Every check runs, also
 * after one has failed, and each prints its own output; exits with 1 if any failed.
 *
 * Usage: node scripts/check.mjs [name …]
 */
import './ensure-installed.mjs';

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @type {Record<string, [string, ...string[]]>} */
const checks = {
  types: ['node_modules/typescript/bin/tsc', '--noEmit'],
  'types of the sample app': ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'sample-app'],
  lint: ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings=0'],
  boundaries: [
    'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
    ...['lib', 'schematics', 'test', 'bench', 'examples', 'sample-app'].filter((folder) =>
      existsSync(`${root}/${folder}`),
    ),
  ],
  format: ['node_modules/prettier/bin/prettier.cjs', '--check', '.'],
  build: ['node_modules/@nestjs/cli/bin/nest.js', 'build', 'lib', 'schematics'],
  bundle: ['scripts/bundle.mjs'],
  'option hovers': ['scripts/option-hovers.mjs'],
  // These look at what was built.
  publint: ['node_modules/publint/src/cli.js', '--strict'],
  attw: ['scripts/attw.mjs'],
  declarations: ['scripts/declarations.mjs'],
  editor: ['scripts/editor.mjs'],
  'api report': ['scripts/api-report.mjs', '--check'],
  'options table': ['scripts/options-table.mjs', '--check'],
  'errors table': ['scripts/errors-table.mjs', '--check'],
  'metrics table': ['scripts/metrics-table.mjs', '--check'],
};

const wanted = process.argv.slice(2);
const failed = Object.entries(checks)
  .filter(([name]) => wanted.length === 0 || wanted.includes(name))
  .filter(([name, command]) => !passes(name, command))
  .map(([name]) => name);

if (failed.length > 0) {
  console.error(`\nFailed: ${failed.join(', ')}`);
  process.exit(1);
}

/**
 * @param {string} name
 * @param {[string, ...string[]]} command a script and its arguments
 */
function passes(name, command) {
  console.log(`\n── ${name}`);
  const started = performance.now();
  const { status } = spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' });
  console.log(`${status === 0 ? 'ok' : 'FAILED'} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  return status === 0;
}
