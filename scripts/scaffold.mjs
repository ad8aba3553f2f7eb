/**
 * New Nest applications, as `nest new` of the registry's own CLI makes them, for the scripts and tests that try the
 * packed project out in one.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npm, quietly } from './commands.mjs';

/** The CLIs that the scaffolds come from. The packages that they install are the newest in the scaffold's ranges. */
export const nestCli = /** @type {const} */ ({ 11: '11.0.24', 12: '12.0.8' });

/** A scaffold takes one to two minutes on a busy machine, most of it for its packages. */
const SCAFFOLD_WITHIN_MS = 600_000;

const cache = fileURLToPath(new URL('../node_modules/.cache/nestjs-pool-manager', import.meta.url));

/**
 * @typedef {object} ScaffoldOptions
 * @property {11 | 12} nest the major version of Nest
 * @property {'cjs' | 'esm'} type CommonJS with Jest, or ES modules with vitest, which only Nest 12 has
 * @property {boolean} [packages] whether its packages are installed; true by default
 */

/**
 * Makes a new Nest application: `nest new app --skip-git --package-manager npm`.
 *
 * The first of each kind is made by the CLI and kept in node_modules/.cache until the next `npm ci`; later ones are
 * copies of it, files of their own that may be changed.
 *
 * @example
 *   const { ms } = await scaffold(join(work, 'app'), { nest: 12, type: 'esm' });
 *
 * @param {string} folder where the application will be; must not exist
 * @param {ScaffoldOptions} options
 * @returns {Promise<{ readonly ms: number }>} how long the CLI took, also where the application is a copy
 */
export async function scaffold(folder, { nest, type, packages = true }) {
  if (nest === 11 && type === 'esm') throw new RangeError('Nest 11 scaffolds have no ES modules.');
  const kept = join(cache, `scaffold-${nestCli[nest]}-${type}${packages ? '' : '-bare'}`);
  const ms = madeIn(kept) ?? (await make(kept, { nest, type, packages }));
  copy(join(kept, 'app'), folder);
  return { ms };
}

/**
 * @param {string} kept
 * @param {Required<ScaffoldOptions>} options
 * @returns {Promise<number>} how long the CLI took
 */
async function make(kept, { nest, type, packages }) {
  // Outside the repository: the CLI takes its schematics from the first node_modules above the folder it runs in.
  const work = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-scaffold-'));
  mkdirSync(cache, { recursive: true });
  // Beside the place where it will be, so that no other process ever finds half of it there.
  const partial = mkdtempSync(`${kept}-`);
  try {
    const started = performance.now();
    const cli = ['exec', '--yes', ...quietly, `--package=@nestjs/cli@${nestCli[nest]}`, '--'];
    const options = { withinMs: SCAFFOLD_WITHIN_MS };
    if (nest === 12 && type === 'cjs') {
      // `nest new` has no flag for the module system: it asks, and takes ES modules where there is no terminal. These
      // are the commands that it runs after the answer.
      const answers = ['--name=app', '--type=cjs', '--language=ts', '--package-manager=npm'];
      await npm(work, [...cli, 'schematics', '@nestjs/schematics:application', ...answers], options);
      if (packages) await npm(join(work, 'app'), ['install', '--silent'], options);
    } else {
      const flags = ['--skip-git', '--package-manager', 'npm', ...(packages ? [] : ['--skip-install'])];
      await npm(work, [...cli, 'nest', 'new', 'app', ...flags], options);
    }
    const ms = performance.now() - started;
    check(join(work, 'app'), { nest, packages });
    copy(join(work, 'app'), join(partial, 'app'));
    writeFileSync(join(partial, 'ms'), String(ms));
    renameSync(partial, kept);
    return ms;
  } catch (error) {
    // Another process was first, and its folder is as good as this one.
    const ms = madeIn(kept);
    if (ms === undefined) throw error;
    return ms;
  } finally {
    for (const folder of [work, partial]) rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * That the application is what was asked for: `nest new` ends with exit code 0 also where it could not install the
 * packages.
 *
 * @param {string} app
 * @param {Pick<Required<ScaffoldOptions>, 'nest' | 'packages'>} options
 */
function check(app, { nest, packages }) {
  const { dependencies } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'));
  const range = dependencies['@nestjs/core'];
  if (!range.startsWith(`^${String(nest)}.`)) throw new Error(`The scaffold for Nest ${nest} is for Nest ${range}.`);
  if (packages) readFileSync(join(app, 'node_modules/@nestjs/core/package.json'));
}

/**
 * @param {string} from
 * @param {string} to must not exist
 */
function copy(from, to) {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true, errorOnExist: true, force: false });
}

/**
 * @param {string} kept
 * @returns {number | undefined} how long the CLI took for the application that is kept there; undefined if none is
 */
function madeIn(kept) {
  try {
    return Number(readFileSync(join(kept, 'ms'), 'utf8'));
  } catch {
    return undefined;
  }
}
