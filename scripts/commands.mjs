/** Programs that the scripts run to their end, npm among them, as a user would run them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

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
 * A program under way.
 *
 * @typedef {object} Command
 * @property {import('node:child_process').ChildProcess} child
 * @property {() => string} output what it has printed so far, errors included
 * @property {() => string} stdout … without them
 * @property {Promise<string>} ended the exit code or the signal, when all that it printed is there; rejects where the
 *   program could not be started
 */

/**
 * Starts a program.
 *
 * @param {string} cwd
 * @param {string} program
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env] without it that of `userEnvironment()`
 * @returns {Command}
 */
export function start(cwd, program, args, env = userEnvironment()) {
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let output = '';
  let stdout = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      output += text;
      if (stream === child.stdout) stdout += text;
    });
  }
  const ended = once(child, 'close')
    .then(([code, signal]) => (signal === null ? `exit code ${code}` : String(signal)))
    .finally(() => running.delete(child));
  return { child, output: () => output, stdout: () => stdout, ended };
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
export async function run(cwd, program, args, { env, withinMs = COMMAND_WITHIN_MS } = {}) {
  const { child, output, stdout, ended } = start(cwd, program, args, env);
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    endGroup(child);
  }, withinMs);
  const end = await ended.finally(() => clearTimeout(late));
  if (end === 'exit code 0') return stdout();
  const reason = isLate ? `not done after ${String(withinMs / 1000)} seconds` : end;
  throw new CommandError([program, ...args].join(' '), reason, output());
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

/**
 * Ends a program, and what it started, at once.
 *
 * @param {import('node:child_process').ChildProcess} child
 */
export function endGroup(child) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The whole group has ended.
  }
}
