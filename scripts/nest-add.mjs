/**
 * `nest add nestjs-pool-manager` in new applications, as their owner would type it: the packages that it chooses are
 * installed, the application is built, its tests run, it starts against real servers and answers. A second run changes
 * nothing. Then the migration of an application that has pg and HttpModule of its own: it answers as before.
 *
 * Usage: node scripts/nest-add.mjs [name …]
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Application, changes } from './nest-add/application.mjs';
import { startRegistry } from './nest-add/registry.mjs';
import { environmentOf, nodeBinary } from './node-versions.mjs';
import { pack } from './packed.mjs';
import { scaffold } from './scaffold.mjs';
import { listening, SharedServers, stopped } from './shared-servers.mjs';

/** The Jest of Nest 12's CommonJS scaffold loads Nest itself by require(esm), which needs Node 24.9. */
const applications = /** @type {const} */ ({
  'Nest 11, CommonJS, Jest': { nest: 11, type: 'cjs', node: 20 },
  'Nest 12, CommonJS, Jest': { nest: 12, type: 'cjs', node: 24 },
  'Nest 12, ES modules, vitest': { nest: 12, type: 'esm', node: 20 },
});

const root = fileURLToPath(new URL('..', import.meta.url));
const legacy = join(root, 'scripts/nest-add/legacy');
const work = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-nest-add-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const wanted = process.argv.slice(2);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const registry = await startRegistry(await pack(work), manifest);
const upstream = createServer((request, response) => response.end(JSON.stringify({ path: request.url })));
const { port } = await listening(upstream);
const servers = await SharedServers.start();
try {
  for (const [name, options] of Object.entries(applications)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    await servers.withDatabases(({ postgres, redisUrl }) =>
      tryOut(name, options, {
        npm_config_registry: registry.url,
        DATABASE_URL: postgres.url,
        REDIS_URL: redisUrl,
        API_URL: `http://127.0.0.1:${String(port)}`,
      }),
    );
  }
} finally {
  await servers.stop();
  await registry.stop();
  await stopped(upstream);
}
console.log('nest add works.');

/**
 * @param {string} name
 * @param {typeof applications[keyof typeof applications]} options
 * @param {NodeJS.ProcessEnv} env
 */
async function tryOut(name, { nest, type, node: major }, env) {
  const folder = join(work, `nest-${String(nest)}-${type}`);
  await scaffold(folder, { nest, type });
  const node = await nodeBinary(major);
  const application = new Application(folder, node, { ...environmentOf(node), ...env });
  const before = application.files();
  const kinds = ['--kinds=postgres,redis,http', '--tenant-header=x-tenant-id'];
  const step = steps(name);

  await application.nest('add', manifest.name, '--dry-run', ...kinds);
  step('a dry run only installs the package', () => {
    assert.deepEqual(changes(before, application.files()), ['package.json']);
  });

  const report = await application.nest('add', manifest.name, ...kinds);
  const added = application.files();
  step('nest add changes what it says, and leaves nothing to review', () => {
    assert.match(report, /Done/);
    assert.doesNotMatch(report, /To review/);
    const files = ['.env.example', 'package.json', 'src/app.module.ts', 'src/main.ts'];
    assert.deepEqual(changes(before, added), nest === 11 ? [...files, 'test/jest-e2e.json'] : files);
  });

  await application.nest('add', manifest.name, ...kinds);
  step('a second run changes nothing', () => assert.deepEqual(changes(added, application.files()), []));

  await application.node('node_modules/prettier/bin/prettier.cjs', '--check', 'src', 'test', 'package.json');
  step('the formatter of the project leaves it alone', () => {});

  await application.npm('run', 'build');
  step('it is built', () => {});

  writeFileSync(join(folder, 'src/app.module.spec.ts'), ownTest(type));
  await application.npm('test');
  step('its unit tests run, with one that loads the pools', () => {});
  await application.npm('run', 'test:e2e');
  step('its tests from end to end run', () => {});

  const answers = await application.serve(async (url) => ({
    hello: await (await fetch(url)).text(),
    health: JSON.parse(await (await fetch(`${url}/health`)).text()),
  }));
  step('it starts, answers, and ends with exit code 0', () => {
    assert.equal(answers.hello, 'Hello World!');
    assert.equal(answers.health.status, 'ok');
    assert.deepEqual(Object.keys(answers.health.info), ['database', 'cache', 'api']);
  });

  await tryMigration(application, type, step);
}

/**
 * @param {Application} application
 * @param {'cjs' | 'esm'} type
 * @param {(what: string, check: () => void) => void} step
 */
async function tryMigration(application, type, step) {
  for (const file of readdirSync(legacy)) {
    cpSync(join(legacy, file), join(application.folder, 'src', file));
    if (type === 'cjs') edit(application, `src/${file}`, (text) => text.replaceAll(/(from '\.\/.*)\.js'/g, "$1'"));
  }
  const suffix = type === 'esm' ? '.js' : '';
  edit(application, 'src/app.module.ts', (text) =>
    text
      .replace('imports: [', 'imports: [LegacyModule,')
      .replace(/^/, `import { LegacyModule } from './legacy.module${suffix}';\n`),
  );
  await application.node('node_modules/prettier/bin/prettier.cjs', '--write', 'src');
  await application.npm('run', 'build');
  const ask = async (/** @type {string} */ url) => JSON.parse(await (await fetch(`${url}/legacy`)).text());
  const expected = await application.serve(ask);
  const before = application.files();

  const report = await application.nest('generate', '--collection', manifest.name, 'migrate');
  const after = application.files();
  step('the migration changes what it says, and names the rest', () => {
    assert.deepEqual(changes(before, after), [
      'src/app.module.ts',
      'src/legacy.module.ts',
      'src/legacy.service.ts',
      'src/reports.repository.ts',
    ]);
    assert.match(report, /To review[^]*src\/unmanaged\.ts:4 {2}new Pool/);
  });
  await application.nest('generate', '--collection', manifest.name, 'migrate');
  step('a second migration changes nothing', () => assert.deepEqual(changes(after, application.files()), []));

  await application.node('node_modules/prettier/bin/prettier.cjs', '--check', 'src');
  await application.npm('run', 'build');
  const answers = await application.serve(ask);
  step('the application answers as before', () => {
    assert.deepEqual(expected, { users: [{ one: 1 }], reports: [{ two: 2 }], remote: { path: '/invoices' } });
    assert.deepEqual(answers, expected);
  });
}

/**
 * @param {Application} application
 * @param {string} file
 * @param {(text: string) => string} change
 */
function edit(application, file, change) {
  const path = join(application.folder, file);
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

/**
 * @param {string} application
 * @returns {(what: string, check: () => void) => void}
 */
function steps(application) {
  let started = performance.now();
  return (what, check) => {
    check();
    console.log(`${application}: ${what} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    started = performance.now();
  };
}

/**
 * What a user's own test of the module looks like. Without a test runner's import: each has its names as globals.
 *
 * @param {'cjs' | 'esm'} type
 */
function ownTest(type) {
  return `import { Test } from '@nestjs/testing';
import { getPoolToken } from 'nestjs-pool-manager';
import { AppModule } from './app.module${type === 'esm' ? '.js' : ''}';

describe('AppModule', () => {
  it('is made with a pool of the test', async () => {
    const cache = { client: { get: () => 'cached' } };
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getPoolToken('cache'))
      .useValue(cache)
      .compile();
    const app = module.createNestApplication();
    await app.init();
    expect(app.get(getPoolToken('cache'))).toBe(cache);
    await app.close();
  });
});
`;
}
