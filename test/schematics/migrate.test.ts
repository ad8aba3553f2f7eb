// `nest generate --collection nestjs-pool-manager migrate` on projects that glue pg and HttpModule together by hand.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { json, lines, scaffold } from './support/scaffolds.js';
import { DEVKITS, type Files, Schematics, unformatted } from './support/schematics.js';

let schematics: Schematics;
beforeAll(() => {
  schematics = new Schematics();
});
afterAll(() => schematics.stop());

const migrate = (files: Files, options: Readonly<Record<string, unknown>> = {}) =>
  schematics.run('migrate', options, files);
const changed = (before: Files, after: Files) => Object.keys(after).filter((path) => after[path] !== before[path]);
const app = (files: Files): Files => ({ ...scaffold({ nest: 12 }), ...files });
/** The pools that the root module declares. */
const declared = (files: Files) =>
  /pools: \{\n([\s\S]*?)\n {6}\},\n/.exec(files['/src/app.module.ts'] ?? '')?.[1] ?? '';

const DATABASE_MODULE = lines(
  `import { Global, Module } from '@nestjs/common';`,
  `import { Pool } from 'pg';`,
  `import { PG_POOL } from './tokens.js';`,
  '',
  '@Global()',
  '@Module({',
  '  providers: [',
  '    {',
  '      provide: PG_POOL,',
  '      useFactory: () =>',
  '        new Pool({ connectionString: process.env.DATABASE_URL, max: 20 }),',
  '    },',
  '  ],',
  '  exports: [PG_POOL],',
  '})',
  'export class DatabaseModule {}',
);
const USERS_SERVICE = lines(
  `import { Inject, Injectable } from '@nestjs/common';`,
  `import { Pool } from 'pg';`,
  `import { PG_POOL } from './tokens.js';`,
  '',
  '@Injectable()',
  'export class UsersService {',
  '  constructor(@Inject(PG_POOL) private readonly pool: Pool) {}',
  '',
  '  async all() {',
  `    return (await this.pool.query('select * from users')).rows;`,
  '  }',
  '}',
);
const WITH_PROVIDER = app({
  '/src/tokens.ts': `export const PG_POOL = Symbol('PG_POOL');\n`,
  '/src/database.module.ts': DATABASE_MODULE,
  '/src/users.service.ts': USERS_SERVICE,
});

const BILLING_MODULE = lines(
  `import { HttpModule } from '@nestjs/axios';`,
  `import { Module } from '@nestjs/common';`,
  `import { BillingService } from './billing.service.js';`,
  '',
  '@Module({',
  `  imports: [HttpModule.register({ baseURL: 'https://billing.internal', timeout: 5000, maxRedirects: 3 })],`,
  '  providers: [BillingService],',
  '})',
  'export class BillingModule {}',
);
const BILLING_SERVICE = lines(
  `import { HttpService } from '@nestjs/axios';`,
  `import { Injectable } from '@nestjs/common';`,
  `import { firstValueFrom } from 'rxjs';`,
  '',
  '@Injectable()',
  'export class BillingService {',
  '  constructor(private readonly httpService: HttpService) {}',
  '',
  '  async invoice(id: string) {',
  '    return (await firstValueFrom(this.httpService.get(`/invoices/${id}`))).data;',
  '  }',
  '',
  '  ping() {',
  `    return this.httpService.axiosRef.head('/');`,
  '  }',
  '}',
);
const WITH_HTTP = app({ '/src/billing.module.ts': BILLING_MODULE, '/src/billing.service.ts': BILLING_SERVICE });

describe.each(DEVKITS)('in the CLI of $cli', ({ devkit }) => {
  it('a pool of pg and an HttpModule become declared pools; a second run changes nothing', async () => {
    const before = { ...WITH_PROVIDER, ...WITH_HTTP };
    const first = await schematics.run('migrate', { sourceRoot: 'src', spec: true }, before, devkit);
    expect(changed(before, first.files).sort()).toEqual([
      '/src/app.module.ts',
      '/src/billing.module.ts',
      '/src/billing.service.ts',
      '/src/database.module.ts',
      '/src/users.service.ts',
    ]);
    expect(declared(first.files)).toContain(`type: 'database'`);
    expect(declared(first.files)).toContain(`type: 'http'`);
    const second = await schematics.run('migrate', {}, first.files, devkit);
    expect(changed(first.files, second.files)).toEqual([]);
    expect(second.log).toContain('Nothing was changed.');
  });
});

describe('a provider that makes a pool of pg', () => {
  it('becomes a declared pool with the same options, and its injections follow', async () => {
    const { files, log } = await migrate(WITH_PROVIDER);
    expect(files['/src/app.module.ts']).toContain(
      lines(
        '    PoolManagerModule.forRoot({',
        '      pools: {',
        '        database: {',
        `          type: 'database',`,
        '          ...fromPgPoolConfig({',
        '            connectionString: process.env.DATABASE_URL,',
        '            max: 20,',
        '          }),',
        '        },',
        '      },',
        '    }),',
      ),
    );
    expect(files['/src/app.module.ts']).toContain(
      `import { fromPgPoolConfig, PoolManagerModule } from 'nestjs-pool-manager';`,
    );
    expect(files['/src/database.module.ts']).toBe(
      lines(
        `import { Global, Module } from '@nestjs/common';`,
        '',
        '@Global()',
        '@Module({',
        '  providers: [],',
        '  exports: [],',
        '})',
        'export class DatabaseModule {}',
      ),
    );
    expect(files['/src/users.service.ts']).toBe(
      lines(
        `import { Injectable } from '@nestjs/common';`,
        `import { InjectPool, PostgresPool } from 'nestjs-pool-manager';`,
        '',
        '@Injectable()',
        'export class UsersService {',
        `  constructor(@InjectPool('database') private readonly pool: PostgresPool) {}`,
        '',
        '  async all() {',
        `    return (await this.pool.query('select * from users')).rows;`,
        '  }',
        '}',
      ),
    );
    expect(log).toContain('src/database.module.ts: the provider PG_POOL is the pool database');
    expect(await unformatted(files)).toEqual([]);
  });

  it.each([
    ['several lines', '[\n    A,\n    %\n    B,\n  ]', '[A, B]'],
    ['one line', '[A, %]', '[A]'],
    [
      'lines with comments',
      '[\n    A, // first\n    %\n    // last\n    B,\n  ]',
      '[\n    A, // first\n    // last\n    B,\n  ]',
    ],
  ])('leaves a list on %s as a formatter would', async (_, list, expected) => {
    const provider = `{ provide: PG_POOL, useValue: new Pool() }${list.includes('\n') ? ',' : ''}`;
    const module = DATABASE_MODULE.replace(/\[\n {4}\{[^]*? {2}\]/, list.replace('%', provider));
    const { files } = await migrate({ ...WITH_PROVIDER, '/src/database.module.ts': module });
    expect(files['/src/database.module.ts']).toContain(`  providers: ${expected},\n`);
    expect(await unformatted(files)).toEqual([]);
  });

  it('joins the pools that are declared, under a name that is free', async () => {
    const { files: before } = await schematics.run('nest-add', { kinds: 'postgres' }, WITH_PROVIDER);
    const { files } = await migrate(before);
    expect(declared(files)).toContain(`database: { type: 'database' }, // DATABASE_URL\n        database2: {\n`);
    expect(files['/src/users.service.ts']).toContain(`@InjectPool('database2')`);
    expect(await unformatted(files)).toEqual([]);
  });

  it('is replaced by a declared pool that the user names', async () => {
    const { files: before } = await schematics.run('nest-add', { kinds: 'postgres' }, WITH_PROVIDER);
    const { files } = await migrate(before, { postgresPool: 'database' });
    expect(files['/src/app.module.ts']).toBe(before['/src/app.module.ts']);
    expect(files['/src/users.service.ts']).toContain(`@InjectPool('database')`);
    await expect(migrate(before, { postgresPool: 'orders' })).rejects.toThrow('Declared: database (database)');
    await expect(migrate(before, { httpPool: 'database' })).rejects.toThrow('No pool "database" of type http');
  });

  it.each([
    ['a text as its token', `'REPORTS_POOL'`, `@Inject('REPORTS_POOL') private readonly db: Pool`],
    ['a factory with a body', `'REPORTS_POOL'`, `@Inject('REPORTS_POOL') private readonly db: Pool`, 'body'],
    ['a value', `'REPORTS_POOL'`, `@Inject('REPORTS_POOL') private readonly db: Pool`, 'value'],
  ])('may have %s', async (_, token, parameter, how = '') => {
    const makes = {
      body: 'useFactory: () => {\n        return new Pool();\n      }',
      value: 'useValue: new Pool()',
    }[how];
    const { files } = await migrate(
      app({
        '/src/database.module.ts': lines(
          `import { Module } from '@nestjs/common';`,
          `import { Pool } from 'pg';`,
          `@Module({ providers: [{ provide: ${token}, ${makes ?? 'useFactory: () => new Pool()'} }] })`,
          'export class DatabaseModule {}',
        ),
        '/src/reports.ts': lines(
          `import { Inject, Injectable } from '@nestjs/common';`,
          `import { Pool } from 'pg';`,
          '@Injectable()',
          'export class Reports {',
          `  constructor(${parameter}) {}`,
          '}',
        ),
      }),
    );
    expect(declared(files)).toContain(`reports: { type: 'database', ...fromPgPoolConfig() },`);
    expect(files['/src/reports.ts']).toContain(`@InjectPool('reports') private readonly db: PostgresPool`);
  });

  it('keeps its place in factories and tests, under the token of the pool', async () => {
    const { files } = await migrate({
      ...WITH_PROVIDER,
      '/src/orm.module.ts': lines(
        `import { Module } from '@nestjs/common';`,
        `import { PG_POOL } from './tokens.js';`,
        `@Module({ providers: [{ provide: 'ORM', useFactory: orm, inject: [PG_POOL] }] })`,
        'export class OrmModule {}',
      ),
      '/src/users.service.spec.ts': lines(
        `import { PG_POOL } from './tokens.js';`,
        'const providers = [UsersService, { provide: PG_POOL, useValue: fake }];',
      ),
    });
    expect(files['/src/orm.module.ts']).toContain(`inject: [getPoolToken('database')]`);
    expect(files['/src/users.service.spec.ts']).toBe(
      lines(
        `import { getPoolToken } from 'nestjs-pool-manager';`,
        '',
        `const providers = [UsersService, { provide: getPoolToken('database'), useValue: fake }];`,
      ),
    );
  });

  it('is no longer ended by those who used it: each call is named', async () => {
    const service = USERS_SERVICE.replace(
      '  async all() {',
      '  onModuleDestroy() {\n    return this.pool.end();\n  }\n\n  async all() {',
    );
    const { log } = await migrate({ ...WITH_PROVIDER, '/src/users.service.ts': service });
    expect(log).toContain('src/users.service.ts:9  the pool is closed with the application: remove this call');
  });

  const provider = (make: string, more = '') => DATABASE_MODULE.replace(/new Pool\(.*\)/, make).concat(more);
  it.each([
    ['options of a file', provider('new Pool(config)'), 11, 'its options are not a literal'],
    ['options with values of its file', provider('new Pool({ max: MAX })'), 11, 'its options use values of this file'],
    ['a spread in its options', provider('new Pool({ ...base })'), 11, 'its options use values of this file'],
    [
      'a factory with dependencies',
      DATABASE_MODULE.replace('() =>', '(config: ConfigService) =>').replace(
        '      provide: PG_POOL,',
        '      provide: PG_POOL, inject: [ConfigService],',
      ),
      11,
      'it is no provider of a module',
    ],
    [
      'a factory that does more',
      DATABASE_MODULE.replace(
        /\(\) =>\s+(new Pool\(.*\))/,
        '() => { const pool = $1; pool.on("error", log); return pool; }',
      ),
      10,
      'it is no provider of a module',
    ],
    [
      'a second provider of its token',
      DATABASE_MODULE.replace('  ],\n  exp', '    { provide: PG_POOL, useValue: 1 },\n  ],\n  exp'),
      11,
      'provided a second time',
    ],
    ['a token that is handed on', DATABASE_MODULE.concat('register(PG_POOL);\n'), 11, 'was not understood'],
  ])('with %s is left as it is, and named', async (_, module, line, reason) => {
    const before: Files = { ...WITH_PROVIDER, '/src/database.module.ts': module };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toContain(`src/database.module.ts:${line}  new Pool(…) of pg: `);
    expect(log).toContain(reason);
  });

  it('whose token has a decorator of its own is left as it is, and the decorator named', async () => {
    const before: Files = {
      ...WITH_PROVIDER,
      '/src/tokens.ts': lines(
        `import { Inject } from '@nestjs/common';`,
        `export const PG_POOL = 'PG_POOL';`,
        'export const InjectPg = () => Inject(PG_POOL);',
      ),
    };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toContain('was not understood, at src/tokens.ts:3');
  });

  it('whose token is a text that stands elsewhere too is left as it is', async () => {
    const before: Files = {
      ...WITH_PROVIDER,
      '/src/tokens.ts': `export const PG_POOL = 'PG_POOL';\n`,
      '/src/other.ts': `export const pool = (app) => app.get('PG_POOL');\n`,
    };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toContain('its token is written out as a text, at src/other.ts:1');
  });
});

describe('a field that is a pool of pg', () => {
  const repository = (field: string, more = '') =>
    lines(
      `import { Injectable } from '@nestjs/common';`,
      `import { Pool } from 'pg';`,
      '',
      '@Injectable()',
      'export class UsersRepository {',
      `  ${field}`,
      ...(more === '' ? [] : ['', `  ${more}`]),
      '',
      '  all() {',
      `    return this.pool.query('select * from users');`,
      '  }',
      '}',
    );

  it('is injected', async () => {
    const field = 'private readonly pool = new Pool({ max: 5 });';
    const { files } = await migrate(app({ '/src/users.repository.ts': repository(field) }));
    expect(files['/src/users.repository.ts']).toContain(
      lines(`  @InjectPool('users') private readonly pool!: PostgresPool;`, '', '  all() {'),
    );
    expect(files['/src/users.repository.ts']).not.toContain(`from 'pg'`);
    expect(declared(files)).toBe(`        users: { type: 'database', ...fromPgPoolConfig({ max: 5 }) },`);
    expect(await unformatted(files)).toEqual([]);
  });

  it.each([
    ['static', repository('static readonly pool = new Pool();'), 'static or #private'],
    ['#private', repository('readonly #pool = new Pool();'), 'static or #private'],
    [
      'used by the constructor',
      repository('private readonly pool = new Pool();', 'constructor() { this.pool.on("error", log); }'),
      'the constructor or another field uses it',
    ],
    [
      'of a class that Nest does not make',
      repository('private readonly pool = new Pool();').replace('@Injectable()\n', ''),
      'Nest does not make its class',
    ],
  ])('that is %s is left as it is, and named', async (_, text, reason) => {
    const before = app({ '/src/users.repository.ts': text });
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toMatch(/src\/users\.repository\.ts:\d {2}new Pool/);
    expect(log).toContain(reason);
  });
});

it('a pool of pg that is a constant of a module is named', async () => {
  const before = app({ '/src/db.ts': `import pg from 'pg';\n\nexport const pool = new pg.Pool();\n` });
  const { files, log } = await migrate(before);
  expect(changed(before, files)).toEqual([]);
  expect(log).toContain('src/db.ts:3  new Pool(…) of pg: it is no provider of a module and no field');
});

describe('HttpModule', () => {
  it('becomes a declared pool with the same options, and HttpService an HttpPool', async () => {
    const { files, log } = await migrate(WITH_HTTP);
    expect(files['/src/app.module.ts']).toContain(
      lines(
        '        billing: {',
        `          type: 'http',`,
        `          baseURL: 'https://billing.internal',`,
        '          timeoutMs: 5000,',
        '          client: { maxRedirects: 3 },',
        '          critical: false,',
        '        },',
      ),
    );
    expect(files['/src/billing.module.ts']).toBe(
      lines(
        `import { Module } from '@nestjs/common';`,
        `import { BillingService } from './billing.service.js';`,
        '',
        '@Module({',
        '  imports: [],',
        '  providers: [BillingService],',
        '})',
        'export class BillingModule {}',
      ),
    );
    expect(files['/src/billing.service.ts']).toBe(
      BILLING_SERVICE.replace(`import { HttpService } from '@nestjs/axios';\n`, '')
        .replace(`from 'rxjs';`, `from 'rxjs';\nimport { HttpPool, InjectPool } from 'nestjs-pool-manager';`)
        .replace(
          'private readonly httpService: HttpService',
          `@InjectPool('billing') private readonly httpService: HttpPool`,
        ),
    );
    expect(log).toContain('HttpModule of BillingModule is the pool billing, in BillingService');
    expect(await unformatted(files)).toEqual([]);
  });

  it('without options has no limit of time, which is said', async () => {
    const module = BILLING_MODULE.replace(/HttpModule\.register\(.*\)\]/, 'HttpModule]');
    const { files, log } = await migrate({ ...WITH_HTTP, '/src/billing.module.ts': module });
    expect(declared(files)).toBe(`        billing: { type: 'http', timeoutMs: 0, critical: false },`);
    expect(log).toContain('src/app.module.ts:10  the pool billing has no limit of time');
  });

  it('breaks a constructor that becomes too long for its line', async () => {
    const service = BILLING_SERVICE.replace(
      'private readonly httpService',
      'private readonly connectionToBilling',
    ).replaceAll('this.httpService', 'this.connectionToBilling');
    const { files } = await migrate({ ...WITH_HTTP, '/src/billing.service.ts': service });
    expect(files['/src/billing.service.ts']).toContain(
      lines('  constructor(', `    @InjectPool('billing') private readonly connectionToBilling: HttpPool,`, '  ) {}'),
    );
  });

  it('of a test is named once the classes have pools', async () => {
    const spec = lines(
      `import { HttpService } from '@nestjs/axios';`,
      'const providers = [BillingService, { provide: HttpService, useValue: fake }];',
    );
    const { files, log } = await migrate({ ...WITH_HTTP, '/src/billing.service.spec.ts': spec });
    expect(files['/src/billing.service.spec.ts']).toBe(spec);
    expect(log).toContain(`src/billing.service.spec.ts:2  a class with a pool needs it under its name`);
  });

  it.each([
    [
      'exported',
      'module',
      BILLING_MODULE.replace('  providers', '  exports: [HttpModule],\n  providers'),
      'it is exported',
    ],
    ['global', 'module', BILLING_MODULE.replace('timeout: 5000', 'global: true'), 'it is global'],
    ['registered by a factory', 'module', BILLING_MODULE.replace('register({', 'registerAsync({'), 'not a literal'],
    ['configured by values of its file', 'module', BILLING_MODULE.replace('5000', 'TIMEOUT'), 'values of this file'],
    ['injected into nothing', 'module', BILLING_MODULE.replace('[BillingService]', '[]'), 'is it needed?'],
    [
      'handed on by a class',
      'service',
      BILLING_SERVICE.replace('  ping() {', '  client() {\n    return wrap(this.httpService);\n  }\n\n  ping() {'),
      'handed on, or used in another way',
    ],
    [
      'handed to a parent class',
      'service',
      BILLING_SERVICE.replace(
        'private readonly httpService: HttpService) {}',
        'httpService: HttpService) {\n    super(httpService);\n  }',
      ),
      'handed on, or used in another way',
    ],
    [
      'the type of a method',
      'service',
      BILLING_SERVICE.replace('  ping() {', '  use(http: HttpService) {}\n\n  ping() {'),
      'used as a type or value of its own',
    ],
  ])('that is %s is left as it is, and named', async (_, which, text, reason) => {
    const before: Files = { ...WITH_HTTP, [`/src/billing.${which}.ts`]: text };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toMatch(/src\/billing\.(?:module|service)\.ts:\d+ {2}HttpModule of BillingModule: /);
    expect(log).toContain(reason);
  });

  it('of a class that another module has too is left as it is', async () => {
    const other = BILLING_MODULE.replaceAll('BillingModule', 'InvoicesModule');
    const before: Files = { ...WITH_HTTP, '/src/invoices.module.ts': other };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toContain('BillingService is in InvoicesModule too');
  });
});

describe('pools that are declared in another way', () => {
  it('by a factory: nothing is changed, and each place is named', async () => {
    const module = lines(
      `import { Module } from '@nestjs/common';`,
      `import { PoolManagerModule } from 'nestjs-pool-manager';`,
      `@Module({ imports: [PoolManagerModule.forRootAsync({ pools: ['orders'], useFactory })] })`,
      'export class AppModule {}',
    );
    const before: Files = { ...WITH_PROVIDER, '/src/app.module.ts': module };
    const { files, log } = await migrate(before);
    expect(changed(before, files)).toEqual([]);
    expect(log).toContain('src/database.module.ts:11  PoolManagerModule at src/app.module.ts:3 is no literal');
    // With a name there is nothing to declare.
    const named = await migrate(before, { postgresPool: 'orders' });
    expect(named.files['/src/users.service.ts']).toContain(`@InjectPool('orders')`);
    expect(named.files['/src/app.module.ts']).toBe(module);
  });

  it('in a project without an application: what there is is named', async () => {
    const { '/src/main.ts': _, '/src/app.module.ts': __, ...library } = WITH_PROVIDER;
    const { files, log } = await migrate({ ...library, '/nest-cli.json': json({ sourceRoot: 'src' }) });
    expect(changed(WITH_PROVIDER, files)).toEqual(['/nest-cli.json']);
    expect(log).toContain('no root module');
  });
});
