/**
 * Keeps one server process, so that nothing of it outlives the program that wanted it.
 *
 * It is started in a session of its own (Ctrl-C in a terminal does not reach it) with a pipe as standard input.
 * Requests come in on that pipe; answers and events go out on standard output (supervisor-protocol.ts). When the pipe
 * closes, for whatever reason (a normal end, a crash, SIGKILL), the server is ended and its directory removed. That
 * holds from the first moment on: the directory is made here, not by the program.
 *
 * Plain JavaScript: it must run as it is, from the sources as well as for compiled code.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, cpSync, lchownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

/** @import { Answer, Command, Event, Launch, Preparation, Request } from './supervisor-protocol.js' */

/** How long a server may take to end before it is killed. */
const END_WITHIN_MS = 5_000;
/** How long a server may take to come up. */
const READY_WITHIN_MS = 60_000;
/** So much of its output is quoted when it doesn't. */
const QUOTED_LENGTH = 20_000;

let directory = '';
/** @type {Preparation['owner']} */
let owner;
/** What runs now: the server, or a command of its preparation. */
/** @type {import('node:child_process').ChildProcess | undefined} */
let running;
/** Resolves when what runs has ended. */
let ended = Promise.resolve();
/** @type {NodeJS.Signals} */
let quitSignal = 'SIGTERM';
/** @type {readonly number[]} */
let frozen = [];
/** @type {Promise<void> | undefined} */
let ending;

/** @param {Answer | Event} message */
function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** @param {Preparation} preparation */
async function prepare(preparation) {
  owner = preparation.owner;
  directory = mkdtempSync(preparation.prefix);
  if (owner) chownSync(directory, owner.uid, owner.gid);
  for (const { name, text } of preparation.files) {
    writeFileSync(join(directory, name), placed(text), { mode: 0o600 });
    if (owner) chownSync(join(directory, name), owner.uid, owner.gid);
  }
  for (const { name, from } of preparation.folders) {
    const copy = join(directory, name);
    cpSync(from, copy, { recursive: true, verbatimSymlinks: true });
    if (!owner) continue;
    for (const entry of ['', ...readdirSync(copy, { recursive: true, encoding: 'utf8' })]) {
      lchownSync(join(copy, entry), owner.uid, owner.gid);
    }
  }
  for (const command of preparation.commands) await run(command);
  return { directory };
}

/** @param {string} text */
function placed(text) {
  return text.replaceAll('{directory}', directory);
}

/**
 * Starts a program as what runs now.
 *
 * @param {Command} command
 * @param {NodeJS.Signals} quit the signal that ends it
 * @param {(line: string) => void} heard
 * @returns {{ readonly pid: number | undefined, readonly outcome: Promise<{ code: number | null, signal: string | null
 * }> }}
 */
function begin(command, quit, heard) {
  if (ending) throw new Error('the program that wanted the server has gone');
  if (running) throw new Error('the server is running already');
  const child = spawn(placed(command.file), command.args.map(placed), {
    cwd: directory,
    env: command.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...owner,
  });
  running = child;
  quitSignal = quit;
  createInterface({ input: child.stdout }).on('line', heard);
  createInterface({ input: child.stderr }).on('line', heard);
  /** @type {Promise<{ code: number | null, signal: string | null }>} */
  const outcome = new Promise((resolve, reject) => {
    child.once('error', reject);
    // Not 'exit': PostgreSQL's children share its output, and it hasn't ended before they have.
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  const settle = () => {
    running = undefined;
  };
  ended = outcome.then(settle, settle);
  return { pid: child.pid, outcome };
}

/** @param {Command} command */
async function run(command) {
  /** @type {string[]} */
  const output = [];
  const { code, signal } = await begin(command, 'SIGTERM', (line) => output.push(line)).outcome;
  if (code !== 0) throw new Error(`${command.file} ended with ${signal ?? `code ${code}`}: ${output.join('\n')}`);
  await ended;
}

/** @param {Launch} command */
async function launch(command) {
  const ready = new RegExp(command.ready);
  let output = '';
  /** @type {() => void} */
  let isReady = () => {};
  /** @type {Promise<undefined>} */
  const readiness = new Promise((resolve) => (isReady = () => resolve(undefined)));
  const { pid, outcome } = begin(command, command.quit, (line) => {
    say({ event: 'output', line });
    if (output.length < QUOTED_LENGTH) output += `\n${line}`;
    if (ready.test(line)) isReady();
  });
  const late = setTimeout(() => {
    if (pid !== undefined) signalTo(pid, 'SIGKILL');
  }, READY_WITHIN_MS);
  const over = outcome.finally(() => say({ event: 'exit' }));
  const early = await Promise.race([readiness, over]).finally(() => clearTimeout(late));
  if (!early) return { pid };
  await ended;
  throw new Error(`the server ended with ${early.signal ?? `code ${early.code}`} before it was ready: ${output}`);
}

/**
 * The processes that the server has started. PostgreSQL's are sessions of their own, so that no group signal reaches
 * them.
 *
 * @param {number} pid
 */
function childrenOf(pid) {
  const children = [];
  if (process.platform === 'linux') {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        if (Number(statOf(entry)[1]) === pid) children.push(Number(entry));
      } catch {
        // It has ended meanwhile.
      }
    }
    return children;
  }
  for (const line of execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).split('\n')) {
    const [child, parent] = line.trim().split(/\s+/).map(Number);
    if (parent === pid && child !== undefined) children.push(child);
  }
  return children;
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
function signalTo(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

function runningPid() {
  if (running?.pid === undefined) throw new Error('the server is not running');
  return running.pid;
}

async function freeze() {
  const pid = runningPid();
  // The parent first: a stopped parent starts no more children.
  await freezeOne(pid);
  frozen = childrenOf(pid);
  await Promise.all(frozen.map(freezeOne));
}

/**
 * The signal is sent at once, but on a busy machine the process may run on for a while.
 *
 * @param {number} pid
 */
async function freezeOne(pid) {
  signalTo(pid, 'SIGSTOP');
  while (/^[^TtZX]/.test(stateOf(pid))) await delay(1);
}

/**
 * The letter of a process's state; empty once it has gone.
 *
 * @param {number} pid
 */
function stateOf(pid) {
  try {
    if (process.platform !== 'linux')
      return execFileSync('ps', ['-o', 'state=', '-p', String(pid)], { encoding: 'utf8' });
    return statOf(pid)[0] ?? '';
  } catch {
    return '';
  }
}

/**
 * State, parent, and what else Linux says of a process. The line begins "pid (name) …", and the name may hold spaces
 * and brackets.
 *
 * @param {number | string} pid
 */
function statOf(pid) {
  const line = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return line.slice(line.lastIndexOf(')') + 2).split(' ');
}

function thaw() {
  const pid = runningPid();
  // Those that were stopped, too: when the server itself was killed, they are nobody's children any more.
  for (const child of new Set([...frozen, ...childrenOf(pid)])) signalTo(child, 'SIGCONT');
  frozen = [];
  signalTo(pid, 'SIGCONT');
}

/**
 * Ends what runs by a signal; by SIGKILL, with its children, when that takes too long.
 *
 * @param {NodeJS.Signals} signal
 */
async function halt(signal) {
  const pid = running?.pid;
  if (pid !== undefined) {
    const family = [pid, ...frozen, ...childrenOf(pid)];
    // What is stopped hears no signal but SIGKILL.
    thaw();
    signalTo(pid, signal);
    const late = setTimeout(() => family.forEach((member) => signalTo(member, 'SIGKILL')), END_WITHIN_MS);
    await ended;
    clearTimeout(late);
  }
}

function end() {
  ending ??= halt(quitSignal).then(() => {
    if (directory !== '') rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
  });
  return ending;
}

/**
 * @param {Request} request
 * @returns {Promise<{ directory?: string, pid?: number | undefined } | void>}
 */
async function serve(request) {
  switch (request.request) {
    case 'prepare':
      return prepare(request.preparation);
    case 'launch':
      return launch(request.launch);
    case 'halt':
      return halt(request.signal);
    case 'freeze':
      return freeze();
    case 'thaw':
      return thaw();
  }
}

/** @param {string} line */
async function answer(line) {
  /** @type {Request} */
  const request = JSON.parse(line);
  try {
    say({ id: request.id, ...(await serve(request)) });
  } catch (error) {
    say({ id: request.id, error: error instanceof Error ? error.message : String(error) });
  }
}

const leave = () => void end().finally(() => process.exit());
createInterface({ input: process.stdin })
  .on('line', (line) => void answer(line))
  .on('close', leave);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, leave);
// Nobody listens any more: then there is nobody to tell.
process.stdout.on('error', () => {});
