// `nest add nestjs-pool-manager` on projects as `nest new` makes them, and on those that have got further.
import { readFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { isSoundUndici } from '../../lib/http/undici-version.js';
import { PEER_RANGES, wantedPackages } from '../../schematics/nest-add/packages.js';
import { snippetsOf } from '../docs/snippets.js';
import { json, lines, scaffold } from './support/scaffolds.js';
import { DEVKITS, type Files, Schematics, unformatted } from './support/schematics.js';

let schematics: Schematics;
beforeAll(() => {
  schematics = new Schematics();
});
afterAll(() => schematics.stop());

const ALL = { kinds: 'postgres,redis,http' };
const add = (files: Files, options: Readonly<Record<string, unknown>> = {}) =>
  schematics.run('nest-add', options, files);
const changed = (before: Files, after: Files) => Object.keys(after).filter((path) => after[path] !== before[path]);
const manifest = (files: Files) =>
  JSON.parse(files['/package.json'] ?? '') as Record<string, Readonly<Record<string, unknown>>>;

describe.each(DEVKITS)('in the CLI of $cli', ({ devkit }) => {
  it.each([11, 12] as const)(
    'a Nest %i project gets module, health routes, hooks, packages and an example',
    async (nest) => {
      const before = scaffold({ nest });
      const { files, log, tasks } = await schematics.run('nest-add', ALL, before, devkit);

      expect(files['/src/app.module.ts']).toContain(
        lines(
          '  imports: [',
          '    PoolManagerModule.forRoot({',
          '      pools: {',
          `        database: { type: 'database' }, // DATABASE_URL`,
          `        cache: { type: 'redis' }, // REDIS_URL`,
          `        api: { type: 'http', baseURL: process.env.API_URL, critical: false },`,
          '      },',
          '    }),',
          '    PoolHealthModule,',
          '  ],',
          '  controllers: [AppController],',
        ),
      );
      expect(files['/src/app.module.ts']).toContain(
        `import { PoolHealthModule, PoolManagerModule } from 'nestjs-pool-manager';\n`,
      );
      expect(files['/src/main.ts']).toContain(
        lines(
          '  const app = await NestFactory.create(AppModule);',
          '  app.enableShutdownHooks(undefined, { useProcessExit: true });',
          '  await app.listen(process.env.PORT ?? 3000);',
        ),
      );
      expect(manifest(files).dependencies).toMatchObject({
        '@nestjs/terminus': `^${nest}.0.0`,
        '@nestjs/axios': nest === 11 ? '^4.0.0' : '^12.0.0',
        axios: '^1.7.0',
        ioredis: '^6.0.0',
        pg: '^8.21.0',
      });
      expect(manifest(files).devDependencies).toHaveProperty('@types/pg');
      expect(files['/.env.example']).toBe(
        lines(
          'DATABASE_URL=postgres://user:password@localhost:5432/app',
          'REDIS_URL=redis://localhost:6379',
          'API_URL=https://api.example.com',
        ),
      );
      expect(tasks).toEqual([{ name: 'node-package', options: { command: 'install' } }]);
      expect(log).toContain('src/app.module.ts: PoolHealthModule, PoolManagerModule in AppModule');
      expect(log).toContain(`constructor(@InjectPool('cache') private readonly cache: RedisPool) {}`);
      expect(log).not.toContain('To review');
      expect(await unformatted(files)).toEqual([]);
    },
  );

  it.each([11, 12] as const)(
    'a second run changes nothing in a Nest %i project, and installs nothing',
    async (nest) => {
      const first = await schematics.run(
        'nest-add',
        { ...ALL, tenantHeader: 'x-tenant-id' },
        scaffold({ nest }),
        devkit,
      );
      const second = await schematics.run('nest-add', { ...ALL, tenantHeader: 'x-tenant-id' }, first.files, devkit);
      expect(changed(first.files, second.files)).toEqual([]);
      expect(second.tasks).toEqual([]);
      expect(second.log).toContain('Nothing was changed.');
    },
  );

  it.each([
    ['a kind that there is not', { kinds: 'mysql' }],
    ['a name that no pool can have', { postgresPool: 'two words' }],
    ['a header that none can be', { tenantHeader: 'x tenant' }],
  ])('%s is refused', async (_, options) => {
    await expect(schematics.run('nest-add', options, scaffold({ nest: 12 }), devkit)).rejects.toThrow(/validate/i);
  });

  it('options that the CLI hands to every schematic are taken', async () => {
    const options = { sourceRoot: 'src', spec: true, flat: false, language: 'ts', specFileSuffix: 'undefined' };
    const { files } = await schematics.run('nest-add', options, scaffold({ nest: 11 }), devkit);
    expect(files['/src/app.module.ts']).toContain('PoolManagerModule.forRoot');
  });
});

describe('the options', () => {
  it('without kinds, and nobody to ask, there is a PostgreSQL pool', async () => {
    const { files } = await add(scaffold({ nest: 12 }));
    expect(files['/src/app.module.ts']).toContain(`database: { type: 'database' }, // DATABASE_URL\n      },`);
    expect(manifest(files).dependencies).not.toHaveProperty('ioredis');
  });

  it('pools have the names that they are given, quoted where they must be', async () => {
    const options = { kinds: ['postgres', 'redis'], postgresPool: 'orders', redisPool: 'session-cache' };
    const { files } = await add(scaffold({ nest: 12 }), options);
    expect(files['/src/app.module.ts']).toContain(`orders: { type: 'database' }`);
    expect(files['/src/app.module.ts']).toContain(`'session-cache': { type: 'redis' }`);
    expect(await unformatted(files)).toEqual([]);
  });

  it('a tenant header becomes the resolver of the tenants', async () => {
    const { files, log } = await add(scaffold({ nest: 12 }), { tenantHeader: 'x-tenant-id' });
    expect(files['/src/app.module.ts']).toContain(`      tenancy: { resolve: fromHeader('x-tenant-id') },\n    }),`);
    // Longer than a line may be.
    expect(files['/src/app.module.ts']).toContain('import {\n  fromHeader,\n  PoolHealthModule,\n');
    expect(log).toContain('TenantGuardInterceptor');
    expect(await unformatted(files)).toEqual([]);
  });

  it("as in README's command declare the pools of README's quick start", async () => {
    const snippets = snippetsOf('README.md');
    const command = snippets.find(({ code }) => code.startsWith('npx nest add'))?.code ?? '';
    const flags = [...command.matchAll(/--([\w-]+)=(\S+)/g)].map(([, flag = '', value = '']) => [
      flag.replace(/-(\w)/g, (_match, letter: string) => letter.toUpperCase()),
      value,
    ]);
    const options: Readonly<Record<string, unknown>> = Object.fromEntries(flags);
    const { files } = await add(scaffold({ nest: 12 }), options);
    const ofReadme = snippets.find(({ file }) => file === 'app.module.ts')?.code ?? '';
    const declared = (code = '') => [
      ...[...code.matchAll(/^ +(\w+): \{\s*type: '(\w+)'/gm)].map(([, name, type]) => [name, type]),
      /fromHeader\('.*'\)/.exec(code)?.[0],
    ];
    expect(declared(files['/src/app.module.ts'])).toEqual(declared(ofReadme));
    expect(declared(ofReadme)).toHaveLength(3);
  });

  it('health routes, hooks, the example and the installation can be left out', async () => {
    const options = { health: false, shutdownHooks: false, envExample: false, skipInstall: true };
    const before = scaffold({ nest: 12 });
    const { files, tasks, log } = await add(before, options);
    expect(changed(before, files).sort()).toEqual(['/package.json', '/src/app.module.ts']);
    expect(files['/src/app.module.ts']).not.toContain('PoolHealthModule');
    expect(manifest(files).dependencies).not.toHaveProperty('@nestjs/terminus');
    expect(tasks).toEqual([]);
    expect(log).toContain('Install the packages');
  });

  it('two pools of one name, and -d, which the CLI would not understand, are refused', async () => {
    await expect(add(scaffold({ nest: 11 }), { ...ALL, redisPool: 'api' })).rejects.toThrow(/one name/);
    await expect(add(scaffold({ nest: 11 }), { d: true })).rejects.toThrow(/--dry-run/);
  });
});

describe('a project that has got further', () => {
  it('keeps its module and its pools; what is missing is said', async () => {
    const { files: before } = await add(scaffold({ nest: 12 }), { kinds: 'postgres', postgresPool: 'orders' });
    const { files, log } = await add(before, { kinds: 'postgres,redis' });
    expect(files['/src/app.module.ts']).toBe(before['/src/app.module.ts']);
    expect(log).toContain(`src/app.module.ts  PoolManagerModule is there, without a pool of redis`);
    expect(manifest(files).dependencies).toHaveProperty('ioredis');
  });

  it('keeps a registration with a factory', async () => {
    const module = lines(
      `import { Module } from '@nestjs/common';`,
      `import { PoolManagerModule } from 'nestjs-pool-manager';`,
      '',
      '@Module({',
      `  imports: [PoolManagerModule.forRootAsync({ pools: ['a'], useFactory })],`,
      '})',
      'export class AppModule {}',
    );
    const { files, log } = await add({ ...scaffold({ nest: 12 }), '/src/app.module.ts': module }, { health: false });
    expect(files['/src/app.module.ts']).toBe(module);
    expect(log).toContain('src/app.module.ts:5  PoolManagerModule is there: its pools are yours to declare');
  });

  it('keeps its shutdown hooks, and is told of the exit code', async () => {
    const before = scaffold({ nest: 12 });
    const main = before['/src/main.ts']?.replace(
      '  await app.listen',
      '  app.enableShutdownHooks();\n  await app.listen',
    );
    const { files, log } = await add({ ...before, '/src/main.ts': main ?? '' });
    expect(files['/src/main.ts']).toBe(main);
    expect(log).toMatch(/src\/main\.ts:6 .*exit code 143/);
  });

  it('gets hooks without useProcessExit where its Nest has none', async () => {
    const installed = { '/node_modules/@nestjs/core/package.json': json({ name: '@nestjs/core', version: '11.0.20' }) };
    const { files } = await add({ ...scaffold({ nest: 11 }), ...installed });
    expect(files['/src/main.ts']).toContain('  app.enableShutdownHooks();\n');
  });

  it('keeps its packages; those that do not fit are named, with the version that does', async () => {
    const before = scaffold({ nest: 12 });
    const packages = json({
      ...manifest(before),
      dependencies: { ...manifest(before).dependencies, pg: '^8.11.0', axios: '^1.9.0', undici: '^6.0.0' },
      devDependencies: { ioredis: '^6.0.0' },
    });
    const { files, log } = await add({ ...before, '/package.json': packages }, ALL);
    expect(manifest(files).dependencies).toMatchObject({ pg: '^8.11.0', axios: '^1.9.0', undici: '^6.0.0' });
    expect(log).toContain('pg is 8.11.0, and the pools need ^8.21.0: npm install "pg@^8.21.0"');
    expect(log).toContain('undici is 6.0.0');
    expect(log).not.toContain('axios is');
    expect(log).toContain('ioredis is a devDependency');
  });

  it('keeps its .env.example, and gets the lines that it lacks', async () => {
    const before = { ...scaffold({ nest: 12 }), '/.env.example': 'PORT=3000\nDATABASE_URL=postgres://localhost/mine' };
    const { files } = await add(before, ALL);
    expect(files['/.env.example']).toBe(
      lines(
        'PORT=3000',
        'DATABASE_URL=postgres://localhost/mine',
        'REDIS_URL=redis://localhost:6379',
        'API_URL=https://api.example.com',
      ),
    );
  });

  it('keeps patterns of its own in Jest, and is told what they must leave out', async () => {
    const before = scaffold({ nest: 11 });
    const { jest, ...others } = manifest(before);
    const own = json({ ...others, jest: { ...jest, transformIgnorePatterns: ['/node_modules/(?!(uuid)/)'] } });
    const { files, log } = await add({ ...before, '/package.json': own });
    expect(manifest(files).jest).toHaveProperty('transformIgnorePatterns', ['/node_modules/(?!(uuid)/)']);
    expect(log).toMatch(/package\.json:\d+ {2}Jest must compile this package/);
  });

  it('of Nest 10 is refused', async () => {
    const before = scaffold({ nest: 11 });
    const old = before['/package.json']?.replaceAll('"^11.', '"^10.') ?? '';
    await expect(add({ ...before, '/package.json': old })).rejects.toThrow(/Nest 11 or 12/);
  });
});

describe('Jest', () => {
  it('compiles this package in Nest 11, in unit tests and in those from end to end', async () => {
    const { files } = await add(scaffold({ nest: 11 }));
    const pattern = ['/node_modules/(?!(nestjs-pool-manager)/)'];
    expect(manifest(files).jest).toHaveProperty('transformIgnorePatterns', pattern);
    expect(JSON.parse(files['/test/jest-e2e.json'] ?? '')).toHaveProperty('transformIgnorePatterns', pattern);
  });

  it('finds it behind the links of pnpm', async () => {
    const { files } = await add({ ...scaffold({ nest: 11 }), '/pnpm-lock.yaml': '' });
    const [pattern] = (manifest(files).jest?.transformIgnorePatterns ?? []) as string[];
    const ignored = new RegExp(pattern ?? '');
    expect('/app/node_modules/.pnpm/nestjs-pool-manager@1.0.0/node_modules/nestjs-pool-manager/x.js').not.toMatch(
      ignored,
    );
    expect('/app/node_modules/.pnpm/zod@4.0.0/node_modules/zod/x.js').toMatch(ignored);
    expect(await unformatted(files)).toEqual([]);
  });

  it('is left alone where its configuration is a program: the line for it is said', async () => {
    const before = scaffold({ nest: 11 });
    const { jest: _, ...others } = manifest(before);
    const config = { '/package.json': json(others), '/jest.config.js': 'module.exports = {};\n' };
    const { files, log } = await add({ ...before, ...config });
    expect(files['/jest.config.js']).toBe(config['/jest.config.js']);
    expect(log).toContain(`jest.config.js  Jest must compile this package: transformIgnorePatterns: ['/node_modules/`);
  });
});

describe('the code', () => {
  it('is written as the project is: quotes, semicolons, indentation, commas, line ends', async () => {
    const before = scaffold({ nest: 12 });
    const style = (text = '') =>
      text
        .replaceAll("'", '"')
        .replaceAll(';\n', '\n')
        .replaceAll(/,(\n\s*[}\]])/g, '$1')
        .replaceAll('  ', '\t')
        .replaceAll('\n', '\r\n');
    const prettierrc = json({ semi: false, useTabs: true, trailingComma: 'none', endOfLine: 'crlf', printWidth: 100 });
    const styled = {
      ...before,
      '/src/main.ts': style(before['/src/main.ts']),
      '/src/app.module.ts': style(before['/src/app.module.ts']),
    };
    const { files } = await add({ ...styled, '/.prettierrc': prettierrc }, { ...ALL, tenantHeader: 'x-tenant-id' });
    const module = files['/src/app.module.ts'] ?? '';
    expect(module).toContain(
      'import { fromHeader, PoolHealthModule, PoolManagerModule } from "nestjs-pool-manager"\r\n',
    );
    expect(module).toContain(
      '\t\t\ttenancy: { resolve: fromHeader("x-tenant-id") }\r\n\t\t}),\r\n\t\tPoolHealthModule\r\n',
    );
    const sources = { '/.prettierrc': prettierrc, '/src/main.ts': files['/src/main.ts'] ?? '', '/src/m.ts': module };
    expect(await unformatted(sources)).toEqual([]);
  });

  it('keeps comments and what is imported already', async () => {
    const module = lines(
      `import { Module } from '@nestjs/common';`,
      `import { ConfigModule } from '@nestjs/config';`,
      '',
      '@Module({',
      '  imports: [',
      '    ConfigModule.forRoot({',
      '      isGlobal: true,',
      '    }), // first of all',
      '    // nothing else',
      '  ],',
      '})',
      'export class AppModule {}',
    );
    const { files } = await add({ ...scaffold({ nest: 12 }), '/src/app.module.ts': module }, { kinds: 'redis' });
    expect(files['/src/app.module.ts']).toContain(
      lines(
        '    }), // first of all',
        '    PoolManagerModule.forRoot({',
        '      pools: {',
        `        cache: { type: 'redis' }, // REDIS_URL`,
        '      },',
        '    }),',
        '    PoolHealthModule,',
        '    // nothing else',
      ),
    );
  });

  it.each([
    ['has no imports', '@Module({\n  providers: [],\n})', '@Module({\n  imports: [\n    PoolManagerModule'],
    ['has no metadata', '@Module()', '@Module({\n  imports: [\n    PoolManagerModule'],
    ['has empty metadata', '@Module({})', '@Module({\n  imports: [\n    PoolManagerModule'],
    ['imports on one line', '@Module({ imports: [A, B] })', 'imports: [\n  A,\n  B,\n  PoolManagerModule'],
  ])('finds its place in a root module that %s', async (_, metadata, expected) => {
    const module = `import { Module } from '@nestjs/common';\n\n${metadata}\nexport class AppModule {}\n`;
    const { files, log } = await add({ ...scaffold({ nest: 12 }), '/src/app.module.ts': module });
    expect(files['/src/app.module.ts']).toContain(expected);
    expect(log).not.toContain('To review');
  });

  it('is left to the user where the imports are no literal', async () => {
    const module = `import { Module } from '@nestjs/common';\n\n@Module({ imports: all })\nexport class AppModule {}\n`;
    const { files, log } = await add({ ...scaffold({ nest: 12 }), '/src/app.module.ts': module });
    expect(files['/src/app.module.ts']).toBe(module);
    expect(log).toContain(
      'the imports of AppModule are no literal; add to the imports of AppModule: PoolManagerModule',
    );
  });

  it('goes to the module that the main file starts, wherever it is', async () => {
    const { '/src/app.module.ts': module = '', ...others } = scaffold({ nest: 12 });
    const main = others['/src/main.ts']
      ?.replace('./app.module.js', './shop/index.js')
      .replaceAll('AppModule', 'ShopModule');
    const { files } = await add({
      ...others,
      '/src/main.ts': main ?? '',
      '/src/shop/index.ts': `export * from './shop.module.js';\n`,
      '/src/shop/shop.module.ts': module.replace('AppModule', 'ShopModule'),
    });
    expect(files['/src/shop/shop.module.ts']).toContain('PoolManagerModule.forRoot');
  });

  it('goes to the application of a workspace that is named', async () => {
    const before = scaffold({ nest: 11 });
    const workspace = json({
      monorepo: true,
      root: 'apps/shop',
      sourceRoot: 'apps/shop/src',
      projects: {
        shop: { type: 'application', root: 'apps/shop', entryFile: 'main', sourceRoot: 'apps/shop/src' },
        admin: { type: 'application', root: 'apps/admin', entryFile: 'server', sourceRoot: 'apps/admin/src' },
      },
    });
    const of = (folder: string, main: string) => ({
      [`${folder}/src/${main}.ts`]: before['/src/main.ts'] ?? '',
      [`${folder}/src/app.module.ts`]: before['/src/app.module.ts'] ?? '',
      [`${folder}/test/jest-e2e.json`]: before['/test/jest-e2e.json'] ?? '',
    });
    const files = {
      '/package.json': before['/package.json'] ?? '',
      '/nest-cli.json': workspace,
      ...of('/apps/shop', 'main'),
      ...of('/apps/admin', 'server'),
    };
    const expected = ['/.env.example', '/apps/admin/src/app.module.ts', '/apps/admin/src/server.ts'].concat([
      '/apps/admin/test/jest-e2e.json',
      '/package.json',
    ]);
    const byName = await add(files, { project: 'admin', sourceRoot: 'apps/admin/src' });
    expect(changed(files, byName.files).sort()).toEqual(expected);
    const byFolder = await add(files, { sourceRoot: 'apps/admin/src' });
    expect(byFolder.files).toEqual(byName.files);
    await expect(add(files, { project: 'shed' })).rejects.toThrow('Its projects: shop, admin');
  });
});

describe('the versions', () => {
  const HTTP = { kinds: ['http'], health: false } as const;

  it('of undici are those that the Node at hand can run', () => {
    const undici = (...node: readonly [number, number, number]) =>
      wantedPackages(HTTP, 12, node).find(({ name }) => name === 'undici')?.range;
    expect(undici(20, 19, 0)).toBe('~7.25.0');
    expect(undici(22, 18, 0)).toBe('~7.25.0');
    expect(undici(22, 19, 0)).toBe('^8.4.1');
    expect(undici(24, 0, 0)).toBe('^8.4.1');
  });

  it('that are asked for are those that the package has as its peers', () => {
    const { peerDependencies } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as Readonly<Record<string, Readonly<Record<string, string>>>>;
    // Of undici the package takes any, and decides at run time which it uses.
    const { undici, ...peers } = PEER_RANGES;
    expect(peerDependencies).toMatchObject(peers);
    expect(undici).toBe('>=7.0.0 <7.26.0 || >=8.0.0 <8.3.0 || ^8.4.1');
    expect(['7.25.9', '8.2.9', '8.4.1'].map(isSoundUndici)).toEqual([true, true, true]);
    expect(['6.21.0', '7.26.0', '8.3.0', '8.4.0'].map(isSoundUndici)).toEqual([false, false, false, false]);
  });
});
