import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Global,
  Inject,
  Injectable,
  Module,
  type ModuleMetadata,
  Optional,
  type Provider,
  Scope,
} from '@nestjs/common';
import { LazyModuleLoader, NestFactory } from '@nestjs/core';

import {
  ConnectionPoolManager,
  getPoolToken,
  InjectPool,
  type PoolHandle,
  PoolManagerModule,
  type PoolManagerOptions,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { rejectionOf } from '../support/problems.js';
import { type Change, TestApplications } from './applications.js';

const applications = new TestApplications();
afterEach(() => applications.closeSettled());

function optionsFor(...names: string[]): PoolManagerOptions {
  return { pools: Object.fromEntries(names.map((name) => [name, { type: 'external', driver: new FakeDriver() }])) };
}

const declared = (): ReturnType<typeof PoolManagerModule.forRoot> =>
  PoolManagerModule.forRoot(optionsFor('orders', 'cache'));

@Injectable()
class Orders {
  constructor(@InjectPool('oders') readonly orders: PoolHandle) {}
}

describe('a pool that is injected and not declared', () => {
  it('is told with its place, the pool that was meant and those that there are', async () => {
    const { problems } = await rejectionOf(applications.compile({ imports: [declared()], providers: [Orders] }));
    expect(problems).toEqual([
      {
        key: 'pools.oders',
        rule:
          'is injected into parameter 1 of the constructor of Orders (RootTestModule), and is not declared. ' +
          'Did you mean "orders"? Declared: "orders", "cache"',
      },
    ]);
  });

  it('is told before anything is opened, by an application of its own as well as by a test', async () => {
    const driver = new FakeDriver();
    @Module({
      imports: [PoolManagerModule.forRoot({ pools: { orders: { type: 'external', driver } } })],
      providers: [Orders],
    })
    class App {}
    await rejectionOf(NestFactory.createApplicationContext(App, { logger: false, abortOnError: false }));
    expect(driver.opens).toBe(0);
  });

  it('is told where the registration was written down before the class', async () => {
    const registration = declared();
    @Injectable()
    class Late {
      constructor(@InjectPool('chache') readonly cache: PoolHandle) {}
    }
    const { problems } = await rejectionOf(applications.compile({ imports: [registration], providers: [Late] }));
    expect(problems).toMatchObject([{ rule: expect.stringContaining('Did you mean "cache"?') }]);
  });

  it('is told of properties', async () => {
    @Injectable()
    class Reports {
      @InjectPool('reprots') readonly pool!: PoolHandle;
    }
    const { problems } = await rejectionOf(applications.compile({ imports: [declared()], providers: [Reports] }));
    expect(problems).toMatchObject([
      {
        key: 'pools.reprots',
        rule: expect.stringContaining('into the property "pool" of Reports (RootTestModule), and'),
      },
    ]);
  });

  it('is told of factories, and of classes that inject a token', async () => {
    const factory: Provider = {
      provide: 'DRIZZLE',
      inject: ['NAME', getPoolToken('odres')],
      useFactory: (_name: unknown, pool: unknown) => pool,
    };
    const name: Provider = { provide: 'NAME', useValue: 'orders' };
    const fromFactory = await rejectionOf(applications.compile({ imports: [declared()], providers: [name, factory] }));
    expect(fromFactory.problems).toMatchObject([
      { rule: expect.stringContaining('is injected into argument 2 of the factory of DRIZZLE (RootTestModule)') },
    ]);

    @Injectable()
    class ByToken {
      constructor(@Inject(getPoolToken('odres')) readonly orders: PoolHandle) {}
    }
    const fromClass = await rejectionOf(applications.compile({ imports: [declared()], providers: [ByToken] }));
    expect(fromClass.problems).toMatchObject([{ rule: expect.stringContaining('of the constructor of ByToken') }]);
  });

  it.each([
    ['for each request', Scope.REQUEST],
    ['for each that asks for it', Scope.TRANSIENT],
  ])('is told before the first request of a class that is made %s', async (_, scope) => {
    @Injectable({ scope })
    class Scoped {
      constructor(@InjectPool('oders') readonly orders: PoolHandle) {}
    }
    @Controller({ scope })
    class Routes {
      constructor(readonly scoped: Scoped) {}
    }
    Inject(Scoped)(Routes, undefined, 0);
    const { problems } = await rejectionOf(
      applications.boot({ imports: [declared()], providers: [Scoped], controllers: [Routes] }),
    );
    expect(problems).toMatchObject([{ rule: expect.stringContaining('Did you mean "orders"?') }]);
  });

  it('is told by the registration that it is asked of', async () => {
    @Injectable()
    class Reports {
      constructor(
        @InjectPool('orders') readonly orders: PoolHandle,
        @InjectPool('orders', 'reporting') readonly reports: PoolHandle,
      ) {}
    }
    const reporting = PoolManagerModule.forRoot({ name: 'reporting', ...optionsFor('warehouse') });
    const { problems } = await rejectionOf(
      applications.compile({ imports: [declared(), reporting], providers: [Reports] }),
    );
    expect(problems).toEqual([
      {
        key: 'pools.orders',
        rule:
          'is injected into parameter 2 of the constructor of Reports (RootTestModule), and is not declared. ' +
          'Declared of the registration "reporting": "warehouse"',
      },
    ]);
  });

  it('is told where asynchronous options are used, whose names were given', async () => {
    const registration = PoolManagerModule.forRootAsync({
      pools: ['orders', 'cache'],
      useFactory: () => optionsFor('orders', 'cache'),
    });
    const { problems } = await rejectionOf(applications.compile({ imports: [registration], providers: [Orders] }));
    expect(problems).toMatchObject([{ rule: expect.stringContaining('Did you mean "orders"?') }]);
  });

  it('is told with the names to give, where asynchronous options came without', async () => {
    @Injectable()
    class Cached {
      constructor(@InjectPool('cache') readonly cache: PoolHandle) {}
    }
    const registration = PoolManagerModule.forRootAsync({ useFactory: () => optionsFor('orders', 'cache') });
    const { problems } = await rejectionOf(applications.compile({ imports: [registration], providers: [Cached] }));
    expect(problems).toEqual([
      {
        key: 'pools.cache',
        rule:
          'is injected into parameter 1 of the constructor of Cached (RootTestModule), but forRootAsync was not told the ' +
          'names of the pools, and Nest needs them before the factory runs. Name beside it what the factory gives: ' +
          'forRootAsync({ pools: ["orders", "cache"], … })',
      },
    ]);
    const misspelt = await rejectionOf(applications.compile({ imports: [registration], providers: [Orders] }));
    expect(misspelt.problems).toMatchObject([
      { rule: expect.stringMatching(/Did you mean "orders"\? Declared: "orders", "cache"; name them in forRootAsync/) },
    ]);
  });
});

describe('a pool of a registration with isGlobal: false', () => {
  const local = (): ReturnType<typeof PoolManagerModule.forRoot> =>
    PoolManagerModule.forRoot({ isGlobal: false, ...optionsFor('orders', 'cache') });

  @Injectable()
  class Cached {
    constructor(@InjectPool('cache') readonly cache: PoolHandle) {}
  }

  it('is told with the import that is missing, where a module injects it without', async () => {
    @Module({ imports: [PoolManagerModule.forFeature(['orders'])], providers: [Cached] })
    class Reports {}
    const { problems } = await rejectionOf(applications.compile({ imports: [local(), Reports] }));
    expect(problems).toEqual([
      {
        key: 'pools.cache',
        rule:
          'is injected into parameter 1 of the constructor of Cached (Reports), which does not see it, because the ' +
          'registration has isGlobal: false. Add PoolManagerModule.forFeature(["cache"]) to the imports of Reports',
      },
    ]);
  });

  it.each<[string, Omit<Parameters<typeof PoolManagerModule.forRootAsync>[0], 'useFactory'>]>([
    ['its names', { pools: ['warehouse'] }],
    ['none', {}],
  ])('is told with the name of the registration, where asynchronous options came with %s', async (_, names) => {
    @Injectable({ scope: Scope.REQUEST })
    class Reports {
      constructor(@InjectPool('warehouse', 'reporting') readonly reports: PoolHandle) {}
    }
    @Module({ providers: [Reports] })
    class Feature {}
    const useFactory = (): PoolManagerOptions => optionsFor('warehouse');
    const reporting = PoolManagerModule.forRootAsync({ name: 'reporting', isGlobal: false, ...names, useFactory });
    const { problems } = await rejectionOf(applications.boot({ imports: [reporting, Feature] }));
    expect(problems).toMatchObject([
      { rule: expect.stringContaining('Add PoolManagerModule.forFeature(["warehouse"], "reporting") to the imports') },
    ]);
  });

  it('is told where it is misspelt, as every pool is', async () => {
    @Module({ imports: [PoolManagerModule.forFeature(['orders'])], providers: [Orders] })
    class Feature {}
    const { problems } = await rejectionOf(applications.compile({ imports: [local(), Feature] }));
    expect(problems).toMatchObject([{ rule: expect.stringContaining('Did you mean "orders"?') }]);
  });

  it('is injected where it is imported, by however many, and found before the start as after it', async () => {
    @Injectable()
    class Second extends Cached {}
    @Module({ imports: [PoolManagerModule.forFeature(['cache'])], providers: [Cached, Second] })
    class Feature {}
    @Module({ imports: [PoolManagerModule.forFeature(['cache'])], providers: [Cached] })
    class Another {}
    const application = await applications.compile({ imports: [Another, Feature, local()] });
    const pool = application.get<PoolHandle>(getPoolToken('cache'));
    await application.init();
    expect(application.get(getPoolToken('cache'))).toBe(pool);
    for (const found of [Cached, Second]) {
      const instances = application.get(found, { strict: false, each: true });
      expect(instances.map(({ cache }) => cache)).toEqual(instances.map(() => pool));
    }
  });

  it.each(['first', 'last'])('is injected where a global module exports it again that is imported %s', async (at) => {
    const registration = local();
    @Global()
    @Module({ imports: [registration], exports: [PoolManagerModule] })
    class Shared {}
    @Module({ providers: [Cached] })
    class Feature {}
    const imports = at === 'first' ? [Shared, registration, Feature] : [registration, Feature, Shared];
    const application = await applications.boot({ imports });
    expect(application.get(Cached, { strict: false }).cache).toBe(
      application.get(ConnectionPoolManager).getPool('cache'),
    );
  });

  it('is not asked for where it is optional', async () => {
    @Injectable()
    class Dispensable {
      constructor(@Optional() @InjectPool('cache') readonly cache?: PoolHandle) {}
    }
    @Module({ providers: [Dispensable] })
    class Feature {}
    const application = await applications.boot({ imports: [local(), Feature] });
    expect(application.get(Dispensable, { strict: false }).cache).toBeUndefined();
  });
});

describe('a pool that is not declared harms nothing', () => {
  it('where the class that asks for it is no part of the application', async () => {
    await expect(applications.boot({ imports: [declared()] })).resolves.toBeDefined();
    await expect(
      applications.boot({ providers: [{ provide: getPoolToken('oders'), useValue: {} }, Orders] }),
    ).resolves.toBeDefined();
  });

  it('where it is optional', async () => {
    @Injectable()
    class Optionals {
      @Optional() @InjectPool('oders') readonly property?: PoolHandle;
      constructor(@Optional() @InjectPool('oders') readonly parameter?: PoolHandle) {}
    }
    @Injectable({ scope: Scope.REQUEST })
    class ForEachRequest extends Optionals {}
    const factory: Provider = {
      provide: 'FACTORY',
      inject: [{ token: getPoolToken('oders'), optional: true }],
      useFactory: (pool: unknown) => ({ pool }),
    };
    const application = await applications.boot({
      imports: [declared()],
      providers: [Optionals, ForEachRequest, factory],
    });
    expect(application.get(Optionals)).toMatchObject({ parameter: undefined });
    expect(application.get(Optionals).property).toBeUndefined();
    expect(application.get('FACTORY')).toEqual({ pool: undefined });
    expect((await application.resolve(ForEachRequest)).parameter).toBeUndefined();
  });

  it('where a module provides it, or a test overrides or mocks it', async () => {
    const fake = {};
    const provided: Provider = { provide: getPoolToken('oders'), useValue: fake };
    @Module({ providers: [provided], exports: [provided] })
    class Fakes {}
    @Module({ imports: [Fakes], providers: [Orders] })
    class Imports {}
    for (const [metadata, change] of [
      [{ imports: [declared()], providers: [Orders, provided] }, () => undefined],
      [{ imports: [declared(), Imports] }, () => undefined],
      [
        { imports: [declared()], providers: [Orders] },
        (builder) => builder.overrideProvider(getPoolToken('oders')).useValue(fake),
      ],
      [{ imports: [declared()], providers: [Orders] }, (builder) => builder.useMocker(() => fake)],
    ] satisfies [ModuleMetadata, Change][]) {
      const application = await applications.boot(metadata, change);
      expect(application.get(Orders, { strict: false }).orders).toBe(fake);
    }
  });

  it('where a module that is loaded later brings it', async () => {
    const fake = {};
    @Module({ providers: [{ provide: getPoolToken('oders'), useValue: fake }], exports: [getPoolToken('oders')] })
    class Fakes {}
    @Module({ imports: [Fakes], providers: [Orders] })
    class Later {}
    const application = await applications.boot({ imports: [declared()] });
    const later = await application.get(LazyModuleLoader).load(() => Later);
    expect(later.get(Orders).orders).toBe(fake);
  });

  it("where it is only looked up: the answer is Nest's own", async () => {
    const token = getPoolToken('oders');
    const application = await applications.boot({ imports: [declared()] });
    expect(() => application.get<unknown>(token)).toThrow('Nest could not find Pool(oders) element');
  });

  it('where it belongs to a feature that imports it', async () => {
    @Injectable()
    class Cached {
      constructor(@InjectPool('cache') readonly cache: PoolHandle) {}
    }
    @Module({ imports: [PoolManagerModule.forFeature(['cache'])], providers: [Cached] })
    class Feature {}
    const registration = PoolManagerModule.forRootAsync({
      isGlobal: false,
      useFactory: () => optionsFor('orders', 'cache'),
    });
    const application = await applications.boot({ imports: [registration, Feature] });
    expect(application.get(Cached, { strict: false }).cache.status).toBe('healthy');
  });
});
