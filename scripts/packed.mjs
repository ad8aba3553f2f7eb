/** The project as its users get it, for the scripts that try it out: the tarball, installed beside an application. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npm, quietly } from './commands.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * @param {string} folder where the tarball goes
 * @param {...'--ignore-scripts'} options to pack what was last built, without building it anew
 * @returns {Promise<string>} its path; it is made as it would be published
 */
export async function pack(folder, ...options) {
  const output = await npm(root, ['pack', '--json', '--pack-destination', folder, ...options]);
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
export async function install(folder, tarball) {
  await npm(folder, ['install', '--no-package-lock', ...quietly, tarball]);
}
