// Both schematics on code that is not as `nest new` writes it: they do the right thing, or name the place and leave it.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { json, lines, scaffold } from './support/scaffolds.js';
import { type Files, Schematics } from './support/schematics.js';

let schematics: Schematics;
beforeAll(() => {
  schematics = new Schematics();
});
afterAll(() => schematics.stop());

const MAIN = '/src/main.ts';
const ROOT = '/src/app.module.ts';

const add = (files: Files) => schematics.run('nest-add', { health: false }, { ...scaffold({ nest: 11 }), ...files });
const migrate = (files: Files) => schematics.run('migrate', {}, { ...scaffold({ nest: 12 }), ...files });

/** A root module: what stands before it, and its metadata. */
const rootModule = (metadata: string, ...before: readonly string[]): string =>
  lines(`import { Module } from '@nestjs/common';`, ...before, '', `@Module(${metadata})`, 'export class AppModule {}');

describe('nest add', () => {
  it.each([
    ['are a variable', rootModule('{ imports: list }', 'const list = [];'), 4],
    ['are in metadata that is spread', rootModule('{ ...base, controllers: [] }', 'const base = { imports: [] };'), 4],
    ['may be overwritten by what is spread', rootModule('{ imports: [], ...base }', 'const base = {};'), 4],
    ['have a computed name', rootModule(`{ ['imports']: [] }`), 3],
    ['are a shorthand', rootModule('{ imports }', 'const imports = [];'), 4],
  ])('names the line, and leaves the module alone, whose imports %s', async (_, text, line) => {
    const { files, log } = await add({ [ROOT]: text });

    expect(files[ROOT]).toBe(text);
    expect(log).toContain(`src/app.module.ts:${line}  the imports of AppModule are no literal; add`);
  });

  it('leaves a file of other line ends alone, byte for byte, where it can do nothing', async () => {
    const text = rootModule('{ imports: list }', 'const list = [];').replaceAll('\n', '\r\n');
    const { files } = await add({ [ROOT]: text });
    expect(files[ROOT]).toBe(text);
  });

  it('leaves a module alone in whose file the name of the module means something else', async () => {
    const text = rootModule('{ imports: [PoolManagerModule] }', '@Module({})', 'class PoolManagerModule {}');
    const { files, log } = await add({ [ROOT]: text });

    expect(files[ROOT]).toBe(text);
    expect(log).toContain('src/app.module.ts:5  PoolManagerModule is something else in this file');
  });

  it.each([
    [`import type { PoolHandle, PoolManagerModule } from 'nestjs-pool-manager';`, 'type PoolHandle, PoolManagerModule'],
    [`import { type PoolManagerModule } from 'nestjs-pool-manager';`, 'PoolManagerModule'],
  ])('makes a value of what was imported as a type: %s', async (declaration, names) => {
    const { files } = await add({ [ROOT]: rootModule('{ imports: [] }', declaration) });

    expect(files[ROOT]).toContain(`import { ${names} } from 'nestjs-pool-manager';`);
    expect(files[ROOT]?.match(/from 'nestjs-pool-manager'/g)).toHaveLength(1);
  });

  it('keeps the comments of an import', async () => {
    const declaration = ['import {', '  PoolHandle, // a kept word', `} from 'nestjs-pool-manager';`];
    const { files } = await add({ [ROOT]: rootModule('{ imports: [] }', ...declaration) });
    expect(files[ROOT]).toContain('PoolHandle, PoolManagerModule, // a kept word');
  });

  it.each([
    [
      'under a namespace',
      {
        [ROOT]: rootModule(
          `{ imports: [pools.PoolManagerModule.forRoot({ pools: { db: { type: 'database' } } })] }`,
          `import * as pools from 'nestjs-pool-manager';`,
        ),
      },
    ],
    [
      'by a function',
      {
        [ROOT]: rootModule(
          '{ imports: [registered(PoolManagerModule)] }',
          `import { PoolManagerModule } from 'nestjs-pool-manager';`,
          `import { registered } from './registered';`,
        ),
      },
    ],
    [
      'in a library of the workspace',
      {
        '/nest-cli.json': json({
          sourceRoot: 'src',
          projects: { pools: { type: 'library', root: 'libs/pools', sourceRoot: 'libs/pools/src' } },
        }),
        '/libs/pools/src/pools.module.ts': rootModule(
          '{ imports: [PoolManagerModule.forRootAsync(options)] }',
          `import { PoolManagerModule } from 'nestjs-pool-manager';`,
        ).replace('AppModule', 'PoolsModule'),
      },
    ],
  ])('sees pools that are registered %s', async (_, before) => {
    const all: Files = { ...scaffold({ nest: 11 }), ...before };
    const { files } = await add(before);
    expect(files[ROOT]).toBe(all[ROOT]);
  });

  it('turns the hooks on of the application, where other factories come before', async () => {
    const main = scaffold({ nest: 11 })[MAIN] ?? '';
    const logger = `  const logger = LoggerFactory.create({ name: 'app' });`;
    const { files } = await add({ [MAIN]: main.replace('bootstrap() {\n', `bootstrap() {\n${logger}\n`) });
    expect(files[MAIN]).toContain(
      '  app.enableShutdownHooks(undefined, { useProcessExit: true });\n  await app.listen',
    );
  });

  it('does not take what an application has for the application', async () => {
    const main = lines(
      `import { NestFactory } from '@nestjs/core';`,
      `import { AppModule } from './app.module';`,
      'async function bootstrap() {',
      '  const server = (await NestFactory.create(AppModule)).getHttpServer();',
      '  server.listen(3000);',
      '}',
    );
    const { files, log } = await add({ [MAIN]: main });

    expect(files[MAIN]).toBe(main);
    expect(log).toContain('src/main.ts:4  the pools close with');
  });

  it('ends its line where the next one would go on with it', async () => {
    const main = lines(
      `import { NestFactory } from '@nestjs/core'`,
      `import { AppModule } from './app.module'`,
      'const app = await NestFactory.create(AppModule)',
      ';[await app.listen(3000)].forEach(console.log)',
    );
    const { files } = await add({ [MAIN]: main });
    expect(files[MAIN]).toContain(';app.enableShutdownHooks(undefined, { useProcessExit: true });\n[await');
  });

  it('sees hooks that a function of the application turns on, and not those of another program', async () => {
    const setup = `export const setup = (app) => app.enableShutdownHooks(undefined, { useProcessExit: true });\n`;
    const program = `import { NestFactory } from '@nestjs/core';\nNestFactory.create(X).enableShutdownHooks();\n`;

    expect((await add({ '/src/setup.ts': setup })).files[MAIN]).not.toContain('enableShutdownHooks');
    expect((await add({ '/src/worker.ts': program })).files[MAIN]).toContain('enableShutdownHooks');
  });
});

describe('the health routes of nest add', () => {
  const controller = (path: string, route: string): string =>
    lines(
      `import { Controller, Get } from '@nestjs/common';`,
      '',
      `@Controller(${path})`,
      'export class StateController {',
      `  @Get(${route})`,
      '  state() {',
      '    return {};',
      '  }',
      '}',
    );
  const addAll = (files: Files) => schematics.run('nest-add', {}, { ...scaffold({ nest: 11 }), ...files });

  it.each([
    [`'health'`, ''],
    [`{ path: '/health' }`, `'ready'`],
    ['', `'health'`],
  ])('are left out where the application has them, under @Controller(%s) @Get(%s)', async (path, route) => {
    const { files, log } = await addAll({ '/src/state.controller.ts': controller(path, route) });

    expect(files[ROOT]).toContain('PoolManagerModule.forRoot');
    expect(files[ROOT]).not.toContain('PoolHealthModule');
    expect(files['/package.json']).not.toContain('@nestjs/terminus');
    expect(log).toContain('src/state.controller.ts:5  the application has health routes here');
  });

  it('are added beside routes with other paths', async () => {
    const { files } = await addAll({ '/src/state.controller.ts': controller(`'state'`, `'health'`) });
    expect(files[ROOT]).toContain('PoolHealthModule');
  });
});

describe('the migration of HttpModule', () => {
  const service = (name: string, ...before: readonly string[]): string =>
    lines(
      `import { HttpService } from '@nestjs/axios';`,
      `import { Injectable } from '@nestjs/common';`,
      ...before,
      '',
      '@Injectable()',
      `export class ${name} {`,
      '  constructor(private readonly http: HttpService) {}',
      '',
      '  load() {',
      `    return this.http.get('/');`,
      '  }',
      '}',
    );
  const httpModule = (metadata: string, ...before: readonly string[]): string =>
    rootModule(metadata, `import { HttpModule } from '@nestjs/axios';`, `import { Api } from './api.js';`, ...before);

  it.each([
    [
      'a class that is provided under another name',
      {
        '/src/billing.ts': service('Billing'),
        [ROOT]: httpModule(
          `{ imports: [HttpModule], providers: [Api, { provide: 'b', useClass: Billing }] }`,
          `import { Billing } from './billing.js';`,
        ),
      },
      'src/app.module.ts:6  HttpModule of AppModule: Billing has an HttpService too',
    ],
    [
      'a guard that a controller names',
      {
        '/src/guard.ts': service('Guard'),
        '/src/orders.ts': lines(
          `import { Controller, UseGuards } from '@nestjs/common';`,
          `import { Guard } from './guard.js';`,
          '@UseGuards(Guard)',
          '@Controller()',
          'export class Orders {}',
        ),
        '/src/guards.module.ts': lines(
          `import { HttpModule } from '@nestjs/axios';`,
          `import { Module } from '@nestjs/common';`,
          `import { Guard } from './guard.js';`,
          '@Module({ imports: [HttpModule], providers: [Guard], exports: [HttpModule] })',
          'export class GuardsModule {}',
        ),
        [ROOT]: httpModule(
          '{ imports: [HttpModule], providers: [Api], controllers: [Orders] }',
          `import { Orders } from './orders.js';`,
        ),
      },
      'src/orders.ts:3  HttpModule of AppModule: Guard has an HttpService too',
    ],
    [
      'a guard that is in no module',
      {
        '/src/guard.ts': service('Guard'),
        [ROOT]: httpModule('{ imports: [HttpModule], providers: [Api] }'),
      },
      'src/guard.ts:4  HttpModule of AppModule: Guard has an HttpService too and is in no module',
    ],
    [
      'an export under another name',
      {
        [ROOT]: httpModule('{ imports: [Http], providers: [Api], exports: [Http] }').replace(
          '{ HttpModule }',
          '{ HttpModule as Http }',
        ),
      },
      'src/app.module.ts:5  HttpModule of AppModule: it is exported',
    ],
    [
      'exports that are no literal',
      { [ROOT]: httpModule('{ imports: [HttpModule], providers: [Api], exports: shared }', 'const shared = [];') },
      'src/app.module.ts:6  HttpModule of AppModule: its exports are no literal',
    ],
    [
      'another token for the service',
      {
        '/src/api.ts': service('Api').replace('private readonly', '@Inject(OTHER) private readonly'),
        [ROOT]: httpModule('{ imports: [HttpModule], providers: [Api] }'),
      },
      'src/api.ts:6  HttpModule of AppModule: its HttpService has decorators of its own',
    ],
    [
      'another InjectPool',
      {
        '/src/api.ts': service('Api', `import { InjectPool } from 'nestjs-slonik';`, 'export { InjectPool };'),
        [ROOT]: httpModule('{ imports: [HttpModule], providers: [Api] }'),
      },
      'src/app.module.ts:5  HttpModule of AppModule: InjectPool is something else in src/api.ts',
    ],
    [
      'no place to declare a pool',
      {
        '/src/api.module.ts': httpModule('{ imports: [HttpModule], providers: [Api] }').replace(
          'AppModule',
          'ApiModule',
        ),
        [ROOT]: rootModule('{ imports: list }', `import { list } from './list.js';`),
      },
      'src/api.module.ts:5  the imports of AppModule are no literal',
    ],
    [
      'a dynamic module',
      {
        [ROOT]: rootModule('{}', `import { HttpModule } from '@nestjs/axios';`).replace(
          '{}\n',
          '{\n  static register() {\n    return { module: AppModule, imports: [HttpModule] };\n  }\n}\n',
        ),
      },
      'src/app.module.ts:7  HttpModule is used outside of the imports of a @Module',
    ],
  ])('leaves everything alone where it finds %s', async (_, files, expected) => {
    const before = { ...scaffold({ nest: 12 }), '/src/api.ts': service('Api'), ...files };
    const { files: after, log } = await migrate(before);

    expect(log).toContain(expected);
    expect(after).toEqual(before);
  });

  it('imports a class once that was imported as a type', async () => {
    const { files } = await migrate({
      '/src/api.ts': service('Api', `import type { HttpPool } from 'nestjs-pool-manager';`),
      [ROOT]: httpModule('{ imports: [HttpModule], providers: [Api] }'),
    });
    expect(files['/src/api.ts']).toContain(`import { HttpPool, InjectPool } from 'nestjs-pool-manager';`);
    expect(files['/src/api.ts']?.match(/from 'nestjs-pool-manager'/g)).toHaveLength(1);
  });
});

describe('the migration of pools of pg', () => {
  const reports = (...members: readonly string[]): string =>
    lines(
      `import { Injectable, Module } from '@nestjs/common';`,
      `import { Pool } from 'pg';`,
      '',
      '@Injectable()',
      'class Reports {',
      ...members.map((member) => `  ${member}`),
      '}',
      '',
      '@Module({ imports: [], providers: [Reports] })',
      'export class AppModule {}',
    );
  const provider = {
    '/src/tokens.ts': `export const PG = Symbol('pg');\n`,
    [ROOT]: rootModule(
      '{ providers: [{ provide: PG, useFactory: () => new Pool() }] }',
      `import { Pool } from 'pg';`,
      `import { PG } from './tokens.js';`,
    ),
  };
  const field = 'private readonly pool = new Pool({ max: 3 });';

  it.each([
    [
      'whose token is imported under another name',
      { ...provider, '/src/reports.ts': `import { PG as DB } from './tokens.js';\nexport const token = DB;\n` },
      'its token has another name at src/reports.ts:1',
    ],
    [
      'whose token is used through a namespace',
      { ...provider, '/src/reports.ts': `import * as tokens from './tokens.js';\nexport const token = tokens.PG;\n` },
      'its token has another name at src/reports.ts:2',
    ],
    [
      'whose token is exported under another name',
      { ...provider, '/src/index.ts': `export { PG as DB } from './tokens.js';\n` },
      'its token has another name at src/index.ts:1',
    ],
    [
      'that the constructor uses through a method',
      {
        [ROOT]: reports(field, 'constructor() {', '  void this.load();', '}', 'load() { return this.pool.query(""); }'),
      },
      'the constructor or another field may use it, at src/app.module.ts:8',
    ],
    [
      'whose class is made by hand',
      { [ROOT]: `${reports(field)}export const reports = new Reports();\n` },
      'its class is made without Nest at src/app.module.ts:11',
    ],
  ])('leaves a pool alone %s', async (_, files, expected) => {
    const before = { ...scaffold({ nest: 12 }), ...files };
    const { files: after, log } = await migrate(before);

    expect(log).toContain(expected);
    expect(after).toEqual(before);
  });

  it('names the tests that make the class by hand', async () => {
    const { files, log } = await migrate({
      [ROOT]: reports(field),
      '/src/reports.spec.ts': `const reports = new Reports();\n`,
    });
    expect(files[ROOT]).toContain(`@InjectPool('reports')`);
    expect(log).toContain('src/reports.spec.ts:1  Reports has no pool here');
  });

  it('takes comments along with the options, and the line ends of the file', async () => {
    const options = [
      'pool = new Pool({',
      '  max: 3, // as many as the server has',
      '  // not the default',
      '  port: 1,',
      '});',
    ];
    const { files } = await migrate({ [ROOT]: reports(...options).replaceAll('\n', '\r\n') });

    expect(files[ROOT]).toContain('max: 3, // as many as the server has');
    expect(files[ROOT]).toContain('// not the default');
    expect(files[ROOT]).not.toMatch(/[^\r]\n|\r\r/);
  });
});
