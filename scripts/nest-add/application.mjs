/** One application that the script tries out: its files, its commands, and its answers while it runs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

import { run } from '../commands.mjs';
import { freePort } from '../shared-servers.mjs';

/** How long an application may take to start, on a busy machine. */
const START_WITHIN_MS = 60_000;
const NOT_OURS = new Set(['node_modules', 'dist', 'package-lock.json']);

export class Application {
  #folder;
  #node;
  #env;

  /**
   * @param {string} folder
   * @param {string} node the binary that it runs on
   * @param {NodeJS.ProcessEnv} env
   */
  constructor(folder, node, env) {
    this.#folder = folder;
    this.#node = node;
    this.#env = env;
  }

  get folder() {
    return this.#folder;
  }

  /**
   * Runs Nest's CLI of the application.
   *
   * @param {...string} args
   */
  nest(...args) {
    return this.node('node_modules/@nestjs/cli/bin/nest.js', ...args);
  }

  /**
   * Runs a script of the application's package.json.
   *
   * @param {...string} args
   */
  npm(...args) {
    return run(this.#folder, 'npm', args, { env: this.#env, withinMs: 600_000 });
  }

  /** @param {...string} args */
  node(...args) {
    return run(this.#folder, this.#node, args, { env: this.#env, withinMs: 600_000 });
  }

  /**
   * Starts what was built, asks it, and ends it as an orchestrator does.
   *
   * @template T
   * @param {(url: string) => Promise<T>} ask
   * @returns {Promise<{ readonly answers: T, readonly exitCode: number | null }>}
   */
  async serve(ask) {
    const port = await freePort();
    const child = spawn(this.#node, ['dist/main.js'], {
      cwd: this.#folder,
      env: { ...this.#env, PORT: String(port), NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const exited = once(child, 'exit');
    const started = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not started in time:\n${output}`)), START_WITHIN_MS);
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          output += String(chunk);
          if (!output.includes('successfully started')) return;
          clearTimeout(late);
          resolve(undefined);
        });
      }
      void exited.then(([code]) => {
        clearTimeout(late);
        reject(new Error(`ended with exit code ${String(code)}:\n${output}`));
      });
    });
    try {
      await started;
      // "Successfully started" is said before the server listens.
      await untilItListens(`http://127.0.0.1:${String(port)}/`);
      const answers = await ask(`http://127.0.0.1:${String(port)}`);
      child.kill('SIGTERM');
      const [exitCode] = await exited;
      return { answers, exitCode };
    } finally {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    }
  }

  /** The application's own files, by their paths. */
  files() {
    return new Map(
      readdirSync(this.#folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(this.#folder, join(entry.parentPath, entry.name)))
        .filter((path) => !path.split('/').some((part) => NOT_OURS.has(part)))
        .sort()
        .map((path) => [path, readFileSync(join(this.#folder, path), 'utf8')]),
    );
  }
}

/**
 * @param {Map<string, string>} before
 * @param {Map<string, string>} after
 * @returns {string[]} the paths of files that differ
 */
export function changes(before, after) {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path))
    .sort();
}

/** @param {string} url */
async function untilItListens(url) {
  const deadline = performance.now() + START_WITHIN_MS;
  for (;;) {
    try {
      await (await fetch(url)).arrayBuffer();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
