/**
 * Builds the library and the sample app when a source is newer than what was built of it.
 *
 * Folders count as sources too: their time changes when a file in them is removed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const sources = ['lib', 'sample-app', 'test/support', 'scripts/bundle.mjs', 'package-lock.json', 'nest-cli.json']
  .concat(['tsconfig.json', 'tsconfig.build.json', 'tsconfig.sample-app.json'])
  .map((path) => join(root, path));
const outputs = ['dist/bundle/index.js', 'dist/sample-app/start.js'].map((path) => join(root, path));

if (Math.max(...sources.map(newest)) > Math.min(...outputs.map(modifiedAt))) {
  console.error('Building…');
  const nest = join(root, 'node_modules/@nestjs/cli/bin/nest.js');
  const build = spawn(process.execPath, [nest, 'build', '--all'], { cwd: root, stdio: ['ignore', 2, 2] });
  // A signal that reaches only this process must not leave the build behind.
  const passOn = (/** @type {NodeJS.Signals} */ signal) => build.kill(signal);
  const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  for (const signal of signals) process.on(signal, passOn);
  const [status] = await once(build, 'exit');
  for (const signal of signals) process.off(signal, passOn);
  if (status !== 0) process.exit(status ?? 1);
  await import('./bundle.mjs');
}

/**
 * @param {string} path
 * @returns {number} when it, or anything below it, was last changed
 */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) return stat?.mtimeMs ?? 0;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

/**
 * @param {string} path
 * @returns {number} when it was written, 0 if it doesn't exist
 */
function modifiedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
