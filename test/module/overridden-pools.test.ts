// A test that puts something else in the place of one pool needs nothing of the others, until it uses them.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Injectable, Module, type ModuleMetadata } from '@nestjs/common';
import type { TestingModule } from '@nestjs/testing';

import {
  ConnectionPoolManager,
  getPoolToken,
  HttpPool,
  InjectPool,
  PoolConfigError,
  PoolHealthModule,
  PoolManagerModule,
  type PoolManagerModuleOptions,
  PostgresPool,
  RedisPool,
} from '../../lib/index.js';
import type { TestDatabase } from '../support/databases.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { withDatabase } from '../support/with-database.js';
import { type Change, TestApplications } from './applications.js';

let database: TestDatabase;
withDatabase((made) => (database = made));

const VARIABLES = ['DATABASE_URL', 'REDIS_URL'] as const;
const before = VARIABLES.map((name) => process.env[name]);
beforeEach(() => {
  for (const name of VARIABLES) delete process.env[name];
});
const applications = new TestApplications();
afterEach(async () => {
  await applications.close();
  for (const [index, name] of VARIABLES.entries()) {
    if (before[index] !== undefined) process.env[name] = before[index];
  }
});

const fake = { query: () => Promise.resolve({ rows: [] }) };

const overriding =
  (tokens: readonly string[]): Change =>
  (builder) => {
    for (const token of tokens) builder.overrideProvider(token).useValue(fake);
  };
const compile = (metadata: ModuleMetadata, overridden: readonly string[]): Promise<TestingModule> =>
  applications.compile(metadata, overriding(overridden));
const boot = (metadata: ModuleMetadata, overridden = [getPoolToken('orders')]): Promise<TestingModule> =>
  applications.boot(metadata, overriding(overridden));

@Injectable()
class Everything {
  constructor(
    @InjectPool('orders') readonly orders: PostgresPool,
    @InjectPool('reports') readonly reports: PostgresPool,
    @InjectPool('cache') readonly cache: RedisPool,
    @InjectPool('billing') readonly billing: HttpPool,
  ) {}
}

const OPTIONS: PoolManagerModuleOptions = {
  pools: {
    orders: { type: 'database', isolation: { mode: 'rls' } },
    reports: { type: 'database', isolation: { mode: 'rls' } },
    cache: { type: 'redis' },
    billing: { type: 'http', baseURL: 'http://127.0.0.1:1' },
  },
};

@Module({ imports: [PoolManagerModule.forRoot(OPTIONS), PoolHealthModule], providers: [Everything] })
class AppModule {}

describe('a test that overrides one pool', () => {
  it('compiles, starts and ends without the addresses of the others', async () => {
    const application = await boot({ imports: [AppModule] });
    const { orders, reports, cache, billing } = application.get(Everything);
    expect(orders).toBe(fake);
    expect([reports, cache, billing].map((pool) => pool.constructor)).toEqual([PostgresPool, RedisPool, HttpPool]);
    expect([reports, cache, billing].map((pool) => pool.status)).toEqual(['starting', 'starting', 'starting']);
    await application.close();
    expect([reports, cache, billing].map((pool) => pool.status)).toEqual(['closed', 'closed', 'closed']);
  });

  it.each<[string, string, (services: Everything) => Promise<unknown>]>([
    ['a query', 'pools.reports.connectionString', ({ reports }) => reports.forTenant('acme').query('select 1')],
    ['a transaction', 'DATABASE_URL', ({ reports }) => reports.forTenant('acme').transaction(() => Promise.resolve())],
    ['a command', 'pools.cache.url', ({ cache }) => cache.client.get('key')],
    ['a pipeline', 'REDIS_URL', ({ cache }) => cache.client.pipeline().get('key').exec()],
    ['a connect', 'REDIS_URL', ({ cache }) => cache.client.connect()],
    ['a lease', 'REDIS_URL', ({ cache }) => cache.use((client) => client.get('key'))],
    ['a client of its own', 'REDIS_URL', ({ cache }) => cache.client.duplicate().get('key')],
  ])('is told at once, by %s, which address is missing where it uses another', async (_, names, use) => {
    const application = await boot({ imports: [AppModule] });
    const failure: unknown = await use(application.get(Everything)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(String(failure)).toContain(names);
    expect(String(failure)).toMatch(/overrideProvider\(getPoolToken\("(reports|cache)"\)\)/);
  });

  it('opens another with its first use, and not before', async () => {
    const driver = new FakeDriver();
    const options: PoolManagerModuleOptions = {
      pools: { orders: { type: 'database' }, files: { type: 'external', driver } },
    };
    const application = await boot({ imports: [PoolManagerModule.forRoot(options)] });
    expect(driver.opens).toBe(0);
    const files = application.get(ConnectionPoolManager).getPool('files');
    await files.use(() => undefined);
    expect(files.status).toBe('healthy');
  });

  it('works with the server of another where there is one', async () => {
    const reports = { type: 'database', connectionString: database.url } as const;
    const application = await boot({ imports: [PoolManagerModule.forRoot({ pools: { ...OPTIONS.pools, reports } })] });
    const manager = application.get(ConnectionPoolManager);
    const { rows } = await manager.getPool('reports', PostgresPool).query('select 1 as one');
    expect(rows).toEqual([{ one: 1 }]);
  });

  it('finds another healthy that nothing has used yet, if its server is there', async () => {
    const pools = {
      orders: { type: 'database' },
      reports: { type: 'database', connectionString: database.url },
    } as const;
    const application = await boot({ imports: [PoolManagerModule.forRoot({ pools })] });
    expect(await application.get(ConnectionPoolManager).healthCheck()).toMatchObject({
      ready: true,
      status: 'healthy',
    });
  });

  it('finds another unhealthy that has no address', async () => {
    const application = await boot({ imports: [AppModule] });
    expect(await application.get(ConnectionPoolManager).healthCheck()).toMatchObject({ ready: false });
  });

  it.each([
    ['nothing', undefined],
    ['an empty text', ''],
  ])('may have %s in the options where the variable of an address is not set', async (_, address) => {
    const pools: PoolManagerModuleOptions['pools'] = {
      orders: { type: 'database', connectionString: address },
      cache: { type: 'redis', url: address },
    };
    const registration = PoolManagerModule.forRootAsync({ pools: ['orders', 'cache'], useFactory: () => ({ pools }) });
    await expect(boot({ imports: [registration] })).resolves.toBeDefined();
  });

  it('may override it where features import it, and in a registration with a name', async () => {
    @Module({ imports: [PoolManagerModule.forFeature(['cache', 'orders'], 'files')] })
    class Feature {}
    const registration = PoolManagerModule.forRoot({ ...OPTIONS, name: 'files', isGlobal: false });
    await expect(boot({ imports: [registration, Feature] }, [getPoolToken('orders', 'files')])).resolves.toBeDefined();
  });

  it('is told of everything else that is wrong with the others', async () => {
    const pools: PoolManagerModuleOptions['pools'] = { orders: { type: 'database' }, cache: { type: 'redis', db: -1 } };
    const starting = compile({ imports: [PoolManagerModule.forRoot({ pools })] }, [getPoolToken('orders')]);
    await expect(starting).rejects.toMatchObject({ problems: [{ key: 'pools.cache.db' }] });
  });
});

describe('addresses are missing', () => {
  it.each([
    ['without an override', []],
    ['with an override of something else', ['Pool(something)', ConnectionPoolManager.name]],
    ['with an override of a pool of another registration', [getPoolToken('orders', 'other')]],
  ])('where the application is built %s', async (_, overridden) => {
    const other = PoolManagerModule.forRoot({
      name: 'other',
      pools: { orders: { type: 'external', driver: new FakeDriver() } },
    });
    const starting = compile({ imports: [AppModule, other] }, overridden);
    await expect(starting).rejects.toThrow(PoolConfigError);
    await expect(starting).rejects.toThrow(/pools\.cache\.url: is required/);
  });
});
