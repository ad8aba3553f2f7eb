/** Programs that the scripts run to their end, npm among them, as a user would run them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** How long a command may take where its caller says nothing else. */
const COMMAND_WITHIN_MS = 180_000;

/**
 * The commands under way. Each leads a process group of its own, so that what it started ends with it.
 *
 * @type {Set<import('node:child_process').ChildProcess>}
 */
const running = new Set();
process.on('exit', () => {
  for (const child of running) endGroup(child);
});

/**
 * @typedef {object} CommandOptions
 * @property {NodeJS.ProcessEnv} [env] without it that of `userEnvironment()`
 * @property {number} [withinMs] how long it may take, 3 minutes by default
 */

/**
 * A command that did not do what it was asked to: it ended with another exit code than 0, or not in time. The message
 * ends with what the command printed.
 */
export class CommandError extends Error {
  /**
   * @param {string} command
   * @param {string} reason
   * @param {string} output
   */
  constructor(command, reason, output) {
    super(`Failed: ${command} (${reason})\n${output.trim()}`);
    this.name = 'CommandError';
    /** The exit code, the signal, or that it was late. */
    this.reason = reason;
    /** What the command printed, errors last. */
    this.output = output.trim();
  }
}

/**
 * Runs a program to its end.
 *
 * @param {string} cwd
 * @param {string} program
 * @param {readonly string[]} args
 * @param {CommandOptions} [options]
 * @returns {Promise<string>} its standard output
 * @throws {CommandError}
 */
export async function run(cwd, program, args, { env = userEnvironment(), withinMs = COMMAND_WITHIN_MS } = {}) {
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let reason = '';
  const late = setTimeout(() => {
    reason = `not done after ${String(withinMs / 1000)} seconds`;
    endGroup(child);
  }, withinMs);
  try {
    const [[code, signal], stdout, stderr] = await Promise.all([
      once(child, 'close'),
      text(child.stdout),
      text(child.stderr),
    ]);
    if (code === 0) return stdout;
    const command = [program, ...args].join(' ');
    throw new CommandError(command, reason || String(signal ?? `exit code ${code}`), `${stdout}${stderr}`);
  } finally {
    clearTimeout(late);
    running.delete(child);
  }
}

/**
 * Runs npm: the one that runs this script, where one does.
 *
 * @param {string} cwd
 * @param {readonly string[]} args
 * @param {CommandOptions} [options]
 * @returns {Promise<string>} what npm printed
 * @throws {CommandError}
 */
export function npm(cwd, args, options) {
  const program = process.env.npm_execpath;
  return program === undefined
    ? run(cwd, 'npm', args, options)
    : run(cwd, process.execPath, [program, ...args], options);
}

/**
 * What npm is told wherever a script installs something: to take from its cache what it has, and to print only what
 * went wrong.
 */
export const quietly = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];

/** Without the flags that the repository's own scripts run with: users don't have them. */
export function userEnvironment() {
  const { NODE_OPTIONS: _flags, npm_config_node_options: _sameFlags, ...env } = process.env;
  return env;
}

/** @param {import('node:child_process').ChildProcess} child */
function endGroup(child) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The whole group has ended.
  }
}
