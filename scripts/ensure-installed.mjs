/**
 * Installs the dependencies when they are absent or older than the lock file, so that `npm start`, `npm test`, `npm run
 * demo` and `npm run bench` work in a fresh clone. It runs before anything is installed, so it uses nothing but Node.
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** npm writes this file at the end of every installation. */
const installed = modifiedAt('node_modules/.package-lock.json');
const locked = modifiedAt('package-lock.json');

if (installed === undefined || (locked !== undefined && installed < locked)) {
  console.error(
    installed === undefined ? 'Installing dependencies…' : 'The lock file has changed, installing dependencies…',
  );
  const npm = process.env.npm_execpath;
  const { status } =
    npm === undefined
      ? spawnSync('npm ci', { cwd: root, stdio: 'inherit', shell: true })
      : spawnSync(process.execPath, [npm, 'ci'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    console.error('The dependencies could not be installed: see the messages of `npm ci` above.');
    process.exit(status ?? 1);
  }
}

/**
 * @param {string} path relative to the repository
 * @returns {number | undefined} milliseconds since 1970; undefined if there is no such file
 */
function modifiedAt(path) {
  return statSync(new URL(`../${path}`, import.meta.url), { throwIfNoEntry: false })?.mtimeMs;
}
