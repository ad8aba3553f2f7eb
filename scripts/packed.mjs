/**
 * The project as its users get it, for the scripts that try it out: the tarball, and npm and Node without the
 * repository's own flags.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * @param {string} folder where the tarball goes
 * @param {...'--ignore-scripts'} options to pack what was last built, without building it anew
 * @returns {string} its path; it is made as it would be published
 */
export function pack(folder, ...options) {
  const output = npm(root, 'pack', '--json', '--pack-destination', folder, ...options);
  // The build that runs before packing may print, too: the answer is the last thing.
  const { filename } = JSON.parse(output.slice(output.lastIndexOf('\n[') + 1))[0];
  return join(folder, filename);
}

/**
 * Installs the packages of an application, and the project beside them.
 *
 * @param {string} folder of the application
 * @param {string} tarball
 */
export function install(folder, tarball) {
  npm(folder, 'install', '--no-package-lock', '--no-audit', '--no-fund', '--prefer-offline', tarball);
}

/**
 * @param {string} cwd
 * @param {...string} args
 * @returns {string} what npm printed
 */
function npm(cwd, ...args) {
  const program = process.env.npm_execpath;
  return program === undefined ? run(cwd, 'npm', args) : run(cwd, process.execPath, [program, ...args]);
}

/**
 * Runs a program to its end. One that fails, or that has not exited by itself after three minutes, ends this process.
 *
 * @param {string} cwd
 * @param {string} program
 * @param {string[]} args
 * @returns {string} its standard output
 */
export function run(cwd, program, args) {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    cwd,
    env: userEnvironment(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 180_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) {
    console.error(`${stdout ?? ''}${stderr ?? ''}`);
    console.error(
      `Failed: ${program} ${args.join(' ')} (${error?.message ?? signal ?? `exit code ${String(status)}`})`,
    );
    process.exit(1);
  }
  return stdout;
}

/** Without the flags that the repository's own scripts run with: users don't have them. */
export function userEnvironment() {
  const { NODE_OPTIONS: _flags, npm_config_node_options: _sameFlags, ...env } = process.env;
  return env;
}
