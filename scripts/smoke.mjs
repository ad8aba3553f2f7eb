/**
 * The packed tarball, installed and used as its users do, in temporary folders outside the repository:
 *
 *   ES module, Nest 12, every peer     compiles with `skipLibCheck: false`, then boots and makes a request
 *   … then with `pg` as the only kind  compiles with the tsconfig of `nest new`
 *   CommonJS, Nest 11, only `pg`       compiles with the tsconfig of `nest new`; boots through require(esm)
 *   … under Jest                       its tests run with the `transformIgnorePatterns` line of the README
 *
 * The applications are the folders beside this file, in `smoke/`.
 */
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run } from './commands.mjs';
import { install, pack } from './packed.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-smoke-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const tarball = await pack(work);

const esm = await project('esm-nest-12');
await step('Nest 12, ES module: every type checked, with all peers', esm, [
  'node_modules/typescript/bin/tsc',
  '-p',
  'tsconfig.json',
]);
await step('Nest 12, ES module: boots and makes a request', esm, ['dist/main.js']);
for (const peer of ['ioredis', 'axios', '@nestjs/axios', 'undici', '@nestjs/microservices', '@nestjs/websockets']) {
  rmSync(join(esm, 'node_modules', peer), { recursive: true });
}
await step('Nest 12, ES module: types checked as by `nest new`, with pg as the only kind', esm, [
  'node_modules/typescript/bin/tsc',
  '-p',
  'tsconfig.only-pg.json',
]);
await step('Nest 12, ES module: boots with pg as the only kind', esm, ['dist/only-pg.js']);

const cjs = await project('cjs-nest-11');
await step('Nest 11, CommonJS: types checked as by `nest new`, with pg as the only kind', cjs, [
  'node_modules/typescript/bin/tsc',
  '-p',
  'tsconfig.json',
]);
await step('Nest 11, CommonJS: required and booted', cjs, ['dist/main.js']);
writeFileSync(join(cjs, 'line-of-the-readme.js'), `module.exports = { ${lineOfTheReadme()} };\n`);
await step('Nest 11, CommonJS Jest: runs with the line of the README', cjs, ['node_modules/jest/bin/jest.js']);

console.log('The packed tarball works.');

/**
 * Copies an application out of the repository and installs what it needs.
 *
 * @param {string} name
 * @returns {Promise<string>} its folder
 */
async function project(name) {
  const folder = join(work, name);
  cpSync(join(root, 'scripts/smoke', name), folder, { recursive: true });
  await install(folder, tarball);
  return folder;
}

/**
 * @param {string} title
 * @param {string} cwd
 * @param {string[]} args of Node
 */
async function step(title, cwd, args) {
  console.log(title);
  await run(cwd, process.execPath, args);
}

/** @returns {string} `transformIgnorePatterns: […]`, word for word */
function lineOfTheReadme() {
  const line = /["']?transformIgnorePatterns["']?: *\[.*\]/.exec(readFileSync(join(root, 'README.md'), 'utf8'));
  if (line === null) {
    console.error('README.md has no line `transformIgnorePatterns: […]` for users whose Jest runs CommonJS.');
    process.exit(1);
  }
  return line[0];
}
