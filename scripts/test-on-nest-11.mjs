/**
 * `npm run test:nest-11`: the tests of what is closest to Nest, on Nest 11. The repository itself has Nest 12.
 *
 * A copy of lib/ and test/ in dist/nest-11 finds Nest 11's packages beside it, and all others where they are.
 *
 * Usage: node scripts/test-on-nest-11.mjs [argument of Jest …]; `NEST_11` is its version, the newest where it is unset
 */
import './ensure-installed.mjs';

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npm, quietly } from './commands.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'dist/nest-11');

const nest = ['common', 'core', 'microservices', 'platform-express', 'platform-fastify', 'platform-socket.io']
  .concat('testing', 'websockets')
  .map((name) => `@nestjs/${name}@${process.env.NEST_11 ?? '11'}`);
const companions = ['@nestjs/axios@4', '@nestjs/bullmq@11', '@nestjs/terminus@11'];

/** What shows how Nest 11 finds, makes, calls and ends things. GraphQL's packages here are those of Nest 12. */
const tests = [
  'test/health',
  'test/observability',
  'test/module',
  'test/tenancy',
  '--testPathIgnorePatterns',
  'graphql',
];

/** Tests of what Nest 11 and its companions don't do, by parts of their names. */
const leftOut = [
  // Terminus 11 answers "ok" there.
  'are only degraded by a pool that is not critical',
  // Only a StreamableFile is sent as a stream; on Fastify, a stream of Node too.
  'Tenants on Express .*(generator|readable|web-response|web-stream)',
  'Tenants on Fastify .*generator',
  // Messages over TCP have no metadata.
  'finds the tenant in the metadata of the message',
  // `close()` rejects with the error of a hook, and where the start failed; without calling the other hooks.
  'Shutdown hooks (that wait for a slot in vain|are called once)',
  'an application that does not boot',
  'several managers of one application with the same name',
];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const source of ['lib', 'scripts', 'test', 'jest.config.js', 'tsconfig.json'])
  cpSync(join(root, source), join(folder, source), { recursive: true });
const { name, type } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, type, private: true }));
await npm(folder, [
  'install',
  '--no-save',
  '--no-package-lock',
  '--ignore-scripts',
  ...quietly,
  ...nest,
  ...companions,
]);

const { version } = JSON.parse(readFileSync(join(folder, 'node_modules/@nestjs/core/package.json'), 'utf8'));
console.log(`\n── Nest ${version}`);
const wanted = process.argv.slice(2);
const { status } = spawnSync(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    join(root, 'node_modules/jest/bin/jest.js'),
    ...(wanted.length > 0 ? wanted : tests),
    ...['--testNamePattern', `^(?!.*(${leftOut.join('|')})).*`],
    // That of CI takes tests that are left out for failed ones.
    '--reporters=default',
  ],
  { cwd: folder, stdio: 'inherit' },
);
process.exit(status ?? 1);
