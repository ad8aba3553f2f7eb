/** One application that the script tries out: its files, its commands, and its answers while it runs. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

import { run } from '../commands.mjs';
import { withService } from '../service.mjs';

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
   * Starts what was built, asks it, and ends it; it must end with exit code 0.
   *
   * @template T
   * @param {(url: string) => Promise<T>} ask
   * @returns {Promise<T>}
   */
  async serve(ask) {
    const env = { ...this.#env, NO_COLOR: '1' };
    const { answers } = await withService(this.#folder, [this.#node, 'dist/main.js'], env, ask);
    return answers;
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
