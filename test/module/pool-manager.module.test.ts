import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { type DynamicModule, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { ModuleRef, NestFactory } from '@nestjs/core';
import { Test } from '@nestjs/testing';

import {
  ConnectionPoolManager,
  ExternalPool,
  getPoolManagerToken,
  getPoolToken,
  InjectPool,
  InjectPoolManager,
  PoolConfigError,
  PoolHandle,
  PoolManagerModule,
  type PoolManagerOptions,
  type PoolManagerOptionsFactory,
  PoolNotFoundError,
  TenantContext,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { TestApplications } from './applications.js';

const applications = new TestApplications();
afterEach(() => applications.close());

function options(pools: Readonly<Record<string, FakeDriver>>): PoolManagerOptions {
  return {
    pools: Object.fromEntries(
      Object.entries(pools).map(([id, driver]) => [id, { type: 'external', driver, startupTimeoutMs: 200 }]),
    ),
  };
}

@Injectable()
class Orders {
  constructor(
    @InjectPool('orders') readonly pool: ExternalPool,
    @InjectPoolManager() readonly manager: ConnectionPoolManager,
  ) {}
}

describe('PoolManagerModule.forRoot', () => {
  it('injects the pool that the manager finds, opened by the time the application is up', async () => {
    const driver = new FakeDriver();
    const application = await applications.boot({
      imports: [PoolManagerModule.forRoot(options({ orders: driver }))],
      providers: [Orders],
    });
    const { pool, manager } = application.get(Orders);
    expect(pool).toBe(manager.getPool('orders'));
    expect(pool.status).toBe('healthy');
    expect(driver.opens).toBe(1);
    expect(application.get(TenantContext)).toBe(manager.tenants);
    expect(application.get(getPoolManagerToken())).toBe(manager);
  });

  it('has its pools open before the onModuleInit of those who use them', async () => {
    @Injectable()
    class EarlyBird implements OnModuleInit {
      lent: unknown;
      constructor(@InjectPool('orders') private readonly pool: ExternalPool) {}
      async onModuleInit() {
        this.lent = await this.pool.use((connection) => connection);
      }
    }
    @Module({ providers: [EarlyBird] })
    class Feature {}
    const driver = new FakeDriver();
    const application = await applications.boot({
      imports: [Feature, PoolManagerModule.forRoot(options({ orders: driver }))],
    });
    expect(application.get(EarlyBird).lent).toBe(driver.opened[0]);
  });

  it('closes its pools with the application, once', async () => {
    const driver = new FakeDriver();
    const application = await applications.boot({
      imports: [PoolManagerModule.forRoot(options({ orders: driver }))],
      // One object under two tokens gets each hook twice.
      providers: [{ provide: 'ALSO', useFactory: (pool: unknown) => pool, inject: [getPoolToken('orders')] }],
    });
    const manager = application.get(ConnectionPoolManager);
    const closed = jest.fn();
    manager.getPool('orders').on('close', closed);
    await application.close();
    await application.close();
    expect(closed).toHaveBeenCalledTimes(1);
    expect(driver.live).toEqual([]);
    expect(driver.disposals).toBe(1);
    await expect(manager.stop()).resolves.toMatchObject({ clean: true, pools: [{ poolId: 'orders' }] });
  });

  it('reports everything that is wrong with the options when the application is built', async () => {
    const wrong = { pools: { orders: { type: 'http', baseURL: 'http://x', maxSize: 0 } }, shutdwon: {} };
    const building = Test.createTestingModule({ imports: [PoolManagerModule.forRoot(wrong as PoolManagerOptions)] })
      .setLogger(new LogBook())
      .compile();
    await expect(building).rejects.toThrow(PoolConfigError);
    await expect(building).rejects.toThrow(/shutdwon/);
    await expect(building).rejects.toThrow(/pools\.orders\.maxSize/);
  });
});

describe('PoolManagerModule.forRootAsync', () => {
  @Injectable()
  class Settings implements PoolManagerOptionsFactory {
    readonly driver = new FakeDriver();
    createPoolManagerOptions() {
      return Promise.resolve(options({ orders: this.driver }));
    }
  }
  @Module({ providers: [Settings], exports: [Settings] })
  class SettingsModule {}

  it.each<[string, DynamicModule]>([
    [
      'useFactory, inject and imports',
      PoolManagerModule.forRootAsync({
        imports: [SettingsModule],
        inject: [Settings],
        useFactory: (settings: Settings) => settings.createPoolManagerOptions(),
        pools: ['orders'],
      }),
    ],
    ['useClass', PoolManagerModule.forRootAsync({ useClass: Settings, pools: ['orders'] })],
    [
      'useExisting',
      PoolManagerModule.forRootAsync({ imports: [SettingsModule], useExisting: Settings, pools: ['orders'] }),
    ],
  ])('takes its options from %s', async (_how, module) => {
    const application = await applications.boot({ imports: [module], providers: [Orders] });
    expect(application.get(Orders).pool).toBeInstanceOf(ExternalPool);
    expect(application.get(Orders).pool.status).toBe('healthy');
  });

  it.each<[string, string[], string[], RegExp]>([
    ['a name without options', ['orders', 'cache'], ['orders'], /no options for "cache"/],
    ['options without a name', ['orders'], ['orders', 'cache'], /not announced: "cache"/],
    ['a misspelt name', ['ordres'], ['orders'], /no options for "ordres"; not announced: "orders"/],
  ])('refuses %s', async (_what, pools, configured, message) => {
    const drivers = Object.fromEntries(configured.map((id) => [id, new FakeDriver()]));
    const building = Test.createTestingModule({
      imports: [PoolManagerModule.forRootAsync({ pools, useFactory: () => options(drivers) })],
    })
      .setLogger(new LogBook())
      .compile();
    await expect(building).rejects.toThrow(PoolConfigError);
    await expect(building).rejects.toThrow(message);
    expect(Object.values(drivers).map(({ opens }) => opens)).toEqual(configured.map(() => 0));
  });

  it('opens pools that have no names to inject, and finds them with the manager', async () => {
    const driver = new FakeDriver();
    const application = await applications.boot({
      imports: [PoolManagerModule.forRootAsync({ useFactory: () => options({ orders: driver }) })],
    });
    expect(application.get(ConnectionPoolManager).getPool('orders')).toBeInstanceOf(PoolHandle);
    expect(driver.opens).toBe(1);
  });
});

describe('isGlobal: false', () => {
  @Module({ imports: [PoolManagerModule.forFeature(['orders'])], providers: [Orders], exports: [Orders] })
  class OrdersModule {}

  it('lets only those inject a pool who import it with forFeature', async () => {
    const root = PoolManagerModule.forRoot({ ...options({ orders: new FakeDriver() }), isGlobal: false });
    const application = await applications.boot({ imports: [root, OrdersModule] });
    expect(application.get(Orders).pool).toBe(application.get(ConnectionPoolManager).getPool('orders'));

    @Module({ providers: [Orders] })
    class WithoutImport {}
    const building = Test.createTestingModule({ imports: [root, WithoutImport] })
      .setLogger(new LogBook())
      .compile();
    await expect(building).rejects.toThrow('forFeature(["orders"]) to the imports of WithoutImport');
  });

  it('builds the pool once, in any order of imports', async () => {
    const application = await applications.boot({
      imports: [
        OrdersModule,
        PoolManagerModule.forFeature(['orders']),
        PoolManagerModule.forRootAsync({
          pools: ['orders'],
          isGlobal: false,
          useFactory: () => options({ orders: new FakeDriver() }),
        }),
      ],
    });
    expect(application.get(Orders).pool).toBe(application.get(ConnectionPoolManager).getPool('orders'));
  });

  it('names the pools that there are when a feature asks for another', async () => {
    const building = Test.createTestingModule({
      imports: [
        PoolManagerModule.forRoot(options({ orders: new FakeDriver() })),
        PoolManagerModule.forFeature(['ordres']),
      ],
    })
      .setLogger(new LogBook())
      .compile();
    await expect(building).rejects.toThrow(PoolNotFoundError);
    await expect(building).rejects.toThrow('Did you mean "orders"?');
  });
});

describe('a pool that a test overrides', () => {
  const fake = { query: () => Promise.resolve([]) };

  it('is neither built nor opened, and is what everyone finds', async () => {
    const orders = new FakeDriver();
    const cache = new FakeDriver();
    const application = await applications.boot(
      { imports: [PoolManagerModule.forRoot(options({ orders, cache }))], providers: [Orders] },
      (builder) => builder.overrideProvider(getPoolToken('orders')).useValue(fake),
    );
    const manager = application.get(ConnectionPoolManager);
    expect(application.get(Orders).pool).toBe(fake);
    expect(manager.getPool('orders')).toBe(fake);
    expect(manager.listPools().map(({ id }) => id)).toEqual(['cache']);
    expect([orders.opens, cache.opens]).toEqual([0, 0]);
    await application.close();
    expect(orders.disposals).toBe(0);
  });

  it('needs no driver package, and no server', async () => {
    const application = await applications.boot(
      {
        imports: [
          PoolManagerModule.forRootAsync({
            pools: ['orders', 'cache', 'billing'],
            useFactory: () => ({
              pools: {
                orders: { type: 'database', connectionString: 'postgres://app@127.0.0.1:1/app' },
                cache: { type: 'redis', url: 'redis://127.0.0.1:1' },
                billing: { type: 'http', baseURL: 'http://127.0.0.1:1' },
              },
            }),
          }),
        ],
      },
      (builder) => {
        for (const name of ['orders', 'cache', 'billing'])
          builder.overrideProvider(getPoolToken(name)).useValue({ name });
      },
    );
    expect(application.get(ConnectionPoolManager).listPools()).toEqual([]);
  });

  it('is overridden for features too', async () => {
    const orders = new FakeDriver();
    @Module({ imports: [PoolManagerModule.forFeature(['orders'])], providers: [Orders] })
    class OrdersModule {}
    const application = await applications.boot(
      { imports: [PoolManagerModule.forRoot({ ...options({ orders }), isGlobal: false }), OrdersModule] },
      (builder) => builder.overrideProvider(getPoolToken('orders')).useValue(fake),
    );
    expect(application.get(Orders).pool).toBe(fake);
    expect(orders.opens).toBe(0);
  });

  it('leaves the pools working when only the manager is overridden', async () => {
    const orders = new FakeDriver();
    const application = await applications.boot(
      { imports: [PoolManagerModule.forRoot(options({ orders }))], providers: [Orders] },
      (builder) => builder.overrideProvider(ConnectionPoolManager).useValue({ getPool: () => fake }),
    );
    expect(application.get(Orders).pool.status).toBe('healthy');
  });
});

describe('an application that does not boot', () => {
  it('has opened nothing when another provider can not be built', async () => {
    const driver = new FakeDriver();
    const building = Test.createTestingModule({
      imports: [PoolManagerModule.forRoot(options({ orders: driver }))],
      providers: [Orders, { provide: 'BROKEN', useFactory: () => Promise.reject(new Error('no such secret')) }],
    })
      .setLogger(new LogBook())
      .compile();
    await expect(building).rejects.toThrow('no such secret');
    expect(driver.opens).toBe(0);
  });

  it('has closed everything again when one of its pools can not be opened', async () => {
    const orders = new FakeDriver();
    const cache = new FakeDriver();
    cache.openBehaviour = new Error('ECONNREFUSED');
    const application = await Test.createTestingModule({
      imports: [PoolManagerModule.forRoot(options({ orders, cache }))],
    })
      .setLogger(new LogBook())
      .compile();
    await expect(application.init()).rejects.toMatchObject({
      poolId: 'cache',
      kind: 'backend',
      cause: cache.openBehaviour,
    });
    expect(orders.opens).toBe(1);
    expect(orders.live).toEqual([]);
    await application.close();
    expect(orders.disposals).toBe(1);
  });

  it('closes its pools with close() when another module failed in onModuleInit', async () => {
    @Injectable()
    class Failing implements OnModuleInit {
      onModuleInit() {
        throw new Error('not today');
      }
    }
    const driver = new FakeDriver();
    const application = await Test.createTestingModule({
      imports: [PoolManagerModule.forRoot(options({ orders: driver }))],
      providers: [Failing],
    })
      .setLogger(new LogBook())
      .compile();
    await expect(application.init()).rejects.toThrow('not today');
    expect(driver.live).toHaveLength(1);
    await application.close();
    expect(driver.live).toEqual([]);
  });
});

describe('several managers', () => {
  it('of two applications in one process know nothing of each other', async () => {
    const [first, second] = [new FakeDriver(), new FakeDriver()];
    const one = await applications.boot({
      imports: [PoolManagerModule.forRoot(options({ orders: first }))],
      providers: [Orders],
    });
    const two = await applications.boot({
      imports: [PoolManagerModule.forRoot(options({ orders: second }))],
      providers: [Orders],
    });
    expect(one.get(Orders).pool).not.toBe(two.get(Orders).pool);
    one.get(TenantContext).run('acme', () => expect(two.get(TenantContext).current()).toBeUndefined());
    await one.close();
    expect(first.live).toEqual([]);
    expect(two.get(Orders).pool.status).toBe('healthy');
    await expect(two.get(Orders).pool.use((connection) => connection)).resolves.toBe(second.opened[0]);
  });

  it('of one application have names, pools of their own, and see the same tenant', async () => {
    @Injectable()
    class Both {
      constructor(
        @InjectPool('orders') readonly orders: ExternalPool,
        @InjectPool('orders', 'reporting') readonly reports: ExternalPool,
        @InjectPoolManager('reporting') readonly reporting: ConnectionPoolManager,
        @InjectPoolManager() readonly manager: ConnectionPoolManager,
      ) {}
    }
    const [orders, reports] = [new FakeDriver(), new FakeDriver()];
    const application = await applications.boot({
      imports: [
        PoolManagerModule.forRoot({ ...options({ orders: reports }), name: 'reporting' }),
        PoolManagerModule.forRoot(options({ orders })),
      ],
      providers: [Both],
    });
    const both = application.get(Both);
    expect(both.manager).not.toBe(both.reporting);
    await expect(both.orders.use((connection) => connection)).resolves.toBe(orders.opened[0]);
    await expect(both.reports.use((connection) => connection)).resolves.toBe(reports.opened[0]);
    await application.get(TenantContext).run('acme', async () => {
      await using lease = await both.reports.acquire();
      expect(lease.tenantId).toBe('acme');
    });
    await application.close();
    expect([...orders.live, ...reports.live]).toEqual([]);
  });

  it('may be named without there being one without a name', async () => {
    const application = await applications.boot({
      imports: [PoolManagerModule.forRoot({ ...options({ orders: new FakeDriver() }), name: 'reporting' })],
    });
    expect(application.get(getPoolManagerToken('reporting'))).toBeInstanceOf(ConnectionPoolManager);
    expect(application.get(getPoolToken('orders', 'reporting'))).toBeInstanceOf(ExternalPool);
  });

  it('of one application with the same name are refused, and nothing is opened', async () => {
    const drivers = [new FakeDriver(), new FakeDriver()];
    const application = await Test.createTestingModule({
      imports: drivers.map((driver) => PoolManagerModule.forRoot(options({ orders: driver }))),
    })
      .setLogger(new LogBook())
      .compile();
    await expect(application.init()).rejects.toThrow(/name: must differ between the registrations/);
    expect(drivers.map(({ opens }) => opens)).toEqual([0, 0]);
    await application.close();
  });
});

describe('what Nest does with the objects it injects', () => {
  it('finds no hook and no promise in a handle or a view of it', async () => {
    const application = await applications.boot({
      imports: [PoolManagerModule.forRoot(options({ orders: new FakeDriver() }))],
      providers: [
        { provide: 'VIEW', useFactory: (pool: PoolHandle) => pool.forTenant('acme'), inject: [getPoolToken('orders')] },
        { provide: 'UNSCOPED', useFactory: (pool: PoolHandle) => pool.unscoped(), inject: [getPoolToken('orders')] },
      ],
    });
    expect(application.get<PoolHandle>('VIEW')).toBeInstanceOf(ExternalPool);
    expect(application.get<PoolHandle>('UNSCOPED').id).toBe('orders');
  });

  it('works in an application context without a server, and with pools looked up by token', async () => {
    const driver = new FakeDriver();
    @Module({ imports: [PoolManagerModule.forRoot(options({ orders: driver }))] })
    class Worker {}
    const context = await NestFactory.createApplicationContext(Worker, { logger: false, abortOnError: false });
    const pool = context.get(ModuleRef).get<PoolHandle>(getPoolToken('orders'), { strict: false });
    await expect(pool.use((connection) => connection)).resolves.toBe(driver.opened[0]);
    await context.close();
    expect(driver.live).toEqual([]);
  });
});
