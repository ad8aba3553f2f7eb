/** One scaffold with the packed project in it, into which the applications of its runs are put one after the other. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npm, quietly, run, userEnvironment } from '../commands.mjs';
import { environmentOf, nodeBinary } from '../node-versions.mjs';
import { scaffold } from '../scaffold.mjs';
import { installCommands, jestLine, quickStart } from './readme.mjs';

/** @import { Run, Scaffold } from './matrix.mjs' */

const applications = fileURLToPath(new URL('applications', import.meta.url));

/** @type {{ peerDependenciesMeta: Record<string, unknown> }} */
const { peerDependenciesMeta } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** The packages of the kinds, which may stand beside a bundle. Those of Nest would bring a second copy of its core. */
const DRIVERS = Object.keys(peerDependenciesMeta).filter((name) => !name.startsWith('@nestjs/'));

/** What Nest and its packages load when an application has it; these have none of it. */
const ABSENT = [
  '@grpc/grpc-js',
  '@grpc/proto-loader',
  '@mikro-orm/core',
  '@nestjs/microservices',
  '@nestjs/mongoose',
  '@nestjs/sequelize',
  '@nestjs/typeorm',
  '@nestjs/websockets',
  '@prisma/client',
  'class-transformer',
  'class-validator',
  'mongoose',
  'pg-native',
  'sequelize',
  'typeorm',
];

export class Project {
  #scaffold;
  /** The scaffold's own; runs change it. */
  #tsconfig;
  /** What was built last: of which application, by which options. */
  #lastBuilt = '';
  /** Where the application is. */
  folder;
  /** How long `nest new` and the README's install commands took. */
  msToInstalled;

  /**
   * @param {string} folder
   * @param {Scaffold} scaffold
   * @param {number} msToInstalled
   */
  constructor(folder, scaffold, msToInstalled) {
    this.folder = folder;
    this.#scaffold = scaffold;
    this.#tsconfig = JSON.parse(readFileSync(join(folder, 'tsconfig.json'), 'utf8'));
    this.msToInstalled = msToInstalled;
  }

  /**
   * Makes the scaffold, and installs what the README says for it, with the tarball in the place of the project's name.
   *
   * @param {string} folder
   * @param {Scaffold} of
   * @param {string} tarball
   */
  static async make(folder, of, tarball) {
    const { ms } = await scaffold(folder, of);
    const started = performance.now();
    for (const command of installCommands(of.nest)) {
      const args = command.map((arg) => (arg === 'nestjs-pool-manager' ? tarball : arg));
      await npm(folder, [...args, ...quietly]);
    }
    const msToInstalled = ms + performance.now() - started;
    const extras = [`@nestjs/platform-fastify@${String(of.nest)}`, 'esbuild'];
    await npm(folder, ['install', '--save-dev', ...extras, ...quietly]);
    const project = new Project(folder, of, msToInstalled);
    // The Jest of Nest 12's scaffold loads ES modules, and what is compiled to CommonJS would not be one.
    if (of.nest === 11) project.#tellJest();
    return project;
  }

  /**
   * Puts an application into the project, in the place of the one before, and runs `nest build`, which checks every
   * declaration of every package that is imported. What is there already is not built again.
   *
   * @param {Run} of
   */
  async build(of) {
    const { application, platform, tsconfig } = of;
    const build = JSON.stringify({ application, platform, tsconfig });
    if (build === this.#lastBuilt) return;
    this.#lastBuilt = '';
    this.#write(of);
    await run(this.folder, process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', 'build']);
    this.#lastBuilt = build;
  }

  /** @param {Run} run */
  #write({ application, platform = 'Express', tsconfig = {}, replacesTsconfig = false }) {
    for (const name of ['src', 'dist', 'bundle']) rmSync(join(this.folder, name), { recursive: true, force: true });
    for (const name of readdirSync(this.folder)) {
      if (name.endsWith('.tsbuildinfo')) rmSync(join(this.folder, name));
    }
    const files = new Map([
      // Each application has the quick start's main.ts, and the others bring what else they are made of.
      ...quickStart(),
      ...filesOf(application),
      ...(platform === 'Fastify' ? filesOf('fastify') : []),
    ]);
    mkdirSync(join(this.folder, 'src'));
    for (const [name, text] of files) {
      // As the quick start says: in CommonJS imports of one's own files go without `.js`.
      const code = this.#scaffold.type === 'cjs' ? text.replaceAll(/( from '\.\.?\/[^']+)\.js'/g, "$1'") : text;
      writeFileSync(join(this.folder, 'src', name), code);
    }
    const compilerOptions = {
      ...(replacesTsconfig ? {} : this.#tsconfig.compilerOptions),
      ...tsconfig,
      skipLibCheck: false,
    };
    writeFileSync(join(this.folder, 'tsconfig.json'), JSON.stringify({ ...this.#tsconfig, compilerOptions }, null, 2));
  }

  /** `npm test`: the scaffold's own test runner. */
  async test() {
    const { testsOn } = this.#scaffold;
    const env = testsOn === undefined ? userEnvironment() : environmentOf(await nodeBinary(testsOn));
    await npm(this.folder, ['test'], { env: { ...env, CI: 'true' } });
  }

  /** @returns {string} the path of what was built */
  built() {
    const entry = ['dist/main.js', 'dist/src/main.js'].find((path) => existsSync(join(this.folder, path)));
    if (entry === undefined) throw new Error('The build left no main.js in dist/.');
    return join(this.folder, entry);
  }

  /**
   * Bundles what was built into one file, as for a container or a function.
   *
   * @param {NonNullable<Run['bundle']>} drivers where the packages of the kinds are
   * @returns {Promise<string>} the path of the bundle: in the project, or alone in a folder where nothing is installed
   */
  async bundle(drivers) {
    const isEsm = this.#scaffold.type === 'esm';
    const file = isEsm ? 'main.mjs' : 'main.cjs';
    const external = [...ABSENT, ...(drivers === 'included' ? [] : DRIVERS)];
    // Inside a bundle it imports axios, before anything could be said about what is missing.
    if (drivers === 'missing') external.push('@nestjs/axios');
    // Packages of CommonJS inside an ES module call `require`, which it doesn't have.
    const banner =
      "--banner:js=import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);";
    await run(this.folder, 'node_modules/.bin/esbuild', [
      this.built(),
      '--bundle',
      '--platform=node',
      '--target=node20',
      `--format=${isEsm ? 'esm' : 'cjs'}`,
      ...(isEsm ? [banner] : []),
      `--outfile=bundle/${file}`,
      '--log-level=error',
      ...external.map((name) => `--external:${name}`),
    ]);
    const bundled = join(this.folder, 'bundle', file);
    if (drivers === 'beside it') return bundled;
    const alone = join(mkdtempSync(join(dirname(this.folder), `${basename(this.folder)}-bundle-`)), file);
    copyFileSync(bundled, alone);
    return alone;
  }

  /**
   * Runs `fn` while some of the installed packages are not there.
   *
   * @template T
   * @param {readonly string[]} packages
   * @param {() => Promise<T>} fn
   * @returns {Promise<T>}
   */
  async without(packages, fn) {
    const moved = packages.map((name, index) => ({
      installed: join(this.folder, 'node_modules', name),
      // Not in the project, where the compiler would find them.
      aside: `${this.folder}-aside-${String(index)}`,
    }));
    for (const { installed, aside } of moved) renameSync(installed, aside);
    try {
      return await fn();
    } finally {
      for (const { installed, aside } of moved) renameSync(aside, installed);
    }
  }

  /** Adds the README's line to the configuration of Jest. */
  #tellJest() {
    const path = join(this.folder, 'package.json');
    const packageJson = JSON.parse(readFileSync(path, 'utf8'));
    const patterns = [...jestLine().matchAll(/'([^']*)'/g)].map(([, pattern]) => pattern);
    packageJson.jest = { ...packageJson.jest, transformIgnorePatterns: patterns };
    writeFileSync(path, JSON.stringify(packageJson, null, 2));
  }
}

/**
 * @param {string} application
 * @returns {ReadonlyMap<string, string>} text by name of file
 */
function filesOf(application) {
  const folder = join(applications, application);
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}
