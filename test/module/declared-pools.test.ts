import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Get,
  Inject,
  Injectable,
  type MiddlewareConsumer,
  Module,
  type NestMiddleware,
  type NestModule,
  type OnModuleInit,
  Scope,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import pg from 'pg';

import {
  ConnectionPoolManager,
  ExternalPool,
  getPoolToken,
  HttpPool,
  InjectPool,
  PoolHandle,
  PoolManagerModule,
  PostgresPool,
  RedisPool,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { rejectionOf } from '../support/problems.js';
import { TestApplications } from './applications.js';

const applications = new TestApplications();
afterEach(() => applications.closeSettled());

/** A driver that counts, under "ftp", and a pool for which no server is needed to be made, under "orders". */
function pools(driver = new FakeDriver()) {
  return PoolManagerModule.forRoot({
    pools: {
      orders: { type: 'database', connectionString: 'postgres://127.0.0.1:1/none', minSize: 0, critical: false },
      ftp: { type: 'external', driver },
    },
  });
}

@Injectable()
class AsRedis {
  constructor(
    @InjectPool('ftp') readonly ftp: ExternalPool,
    @InjectPool('orders') readonly orders: RedisPool,
  ) {}
}

describe('a pool that is injected as another class than its own', () => {
  it('ends the start before anything is opened, and says what is declared where and what the pool is', async () => {
    const driver = new FakeDriver();
    const { problems, message } = await rejectionOf(
      applications.boot({ imports: [pools(driver)], providers: [AsRedis] }),
    );
    expect(problems).toEqual([
      {
        key: 'pools.orders',
        rule:
          'is of the type "database" (PostgresPool), but is injected as RedisPool into parameter 2 of the constructor of ' +
          'AsRedis. Declare that as PostgresPool or PoolHandle, or inject the pool that was meant',
      },
    ]);
    expect(message).toContain('PostgresPool');
    expect(driver.opens).toBe(0);
  });

  it('is found in properties, and all such places are told in one error', async () => {
    @Injectable()
    class Reports {
      @InjectPool('orders') readonly orders!: HttpPool;
      @InjectPool('ftp') readonly ftp!: PostgresPool;
    }
    const { problems } = await rejectionOf(applications.boot({ imports: [pools()], providers: [Reports, AsRedis] }));
    expect(problems.map(({ rule }) => / as (\w+ into .*)\. Declare/.exec(rule)?.[1]).sort()).toEqual([
      'HttpPool into the property "orders" of Reports',
      'PostgresPool into the property "ftp" of Reports',
      'RedisPool into parameter 2 of the constructor of AsRedis',
    ]);
  });

  it.each([
    ['for each request', Scope.REQUEST],
    ['for each that asks for it', Scope.TRANSIENT],
  ])('is found in a class that is made %s', async (_, scope) => {
    @Injectable({ scope })
    class Scoped {
      constructor(@InjectPool('orders') readonly orders: RedisPool) {}
    }
    const { problems } = await rejectionOf(applications.boot({ imports: [pools()], providers: [Scoped] }));
    expect(problems).toHaveLength(1);
  });

  it('is found in a controller that is made for each request, and in what its routes use', async () => {
    @Injectable()
    class Guard {
      constructor(@InjectPool('orders') readonly orders: HttpPool) {}
      use(_request: unknown, _response: unknown, next: () => void) {
        next();
      }
    }
    @Controller({ path: 'orders', scope: Scope.REQUEST })
    class Orders {
      constructor(@InjectPool('orders') readonly orders: RedisPool) {}
      @Get()
      list(): unknown[] {
        return [];
      }
    }
    @Module({ imports: [pools()], controllers: [Orders] })
    class App implements NestModule {
      configure(consumer: MiddlewareConsumer) {
        consumer.apply(Guard as Type<NestMiddleware>).forRoutes('{*path}');
      }
    }
    const application = await NestFactory.create(App, { logger: false });
    applications.add(application);
    const { problems } = await rejectionOf(application.init());
    expect(problems.map(({ rule }) => / of (\w+)\. Declare/.exec(rule)?.[1]).sort()).toEqual(['Guard', 'Orders']);
  });

  it('is found in dynamic modules, with forFeature and asynchronous options', async () => {
    @Module({})
    class Feature {
      static register() {
        return { module: Feature, imports: [PoolManagerModule.forFeature(['ftp'], 'files')], providers: [Files] };
      }
    }
    @Injectable()
    class Files {
      constructor(@InjectPool('ftp', 'files') readonly ftp: RedisPool) {}
    }
    const files = PoolManagerModule.forRootAsync({
      name: 'files',
      isGlobal: false,
      pools: ['ftp'],
      useFactory: () => ({ pools: { ftp: { type: 'external', driver: new FakeDriver() } } }),
    });
    const { problems } = await rejectionOf(applications.boot({ imports: [pools(), files, Feature.register()] }));
    expect(problems).toMatchObject([{ key: 'pools.ftp', rule: expect.stringContaining('(ExternalPool)') }]);
  });

  it('is found where the class is one of the application that extends another kind, or adds to its own', async () => {
    abstract class Cache extends RedisPool {}
    abstract class Archive extends PostgresPool {
      archive(): void {}
    }
    @Injectable()
    class Reports {
      constructor(
        @InjectPool('orders') readonly cache: Cache,
        @InjectPool('orders') readonly archive: Archive,
      ) {}
    }
    const { problems } = await rejectionOf(applications.boot({ imports: [pools()], providers: [Reports] }));
    expect(problems.map(({ rule }) => / as (\w+) into/.exec(rule)?.[1]).sort()).toEqual(['Archive', 'Cache']);
  });

  it('is found in a class that inherits its constructor', async () => {
    @Injectable()
    class Heir extends AsRedis {}
    const { problems } = await rejectionOf(applications.boot({ imports: [pools()], providers: [Heir] }));
    expect(problems).toMatchObject([{ rule: expect.stringContaining('the constructor of Heir') }]);
  });
});

describe('a pool is injected as', () => {
  interface Orders {
    query: unknown;
  }

  it('its own class, PoolHandle, a union, an interface, and as what it is a drop-in for', async () => {
    @Injectable()
    class Everything {
      constructor(
        @InjectPool('orders') readonly own: PostgresPool,
        @InjectPool('orders') readonly handle: PoolHandle,
        @InjectPool('orders') readonly union: RedisPool | HttpPool,
        @InjectPool('orders') readonly face: Orders,
        @InjectPool('orders') readonly dropIn: pg.Pool,
        @Inject(getPoolToken('orders')) readonly byToken: RedisPool,
      ) {}
    }
    const application = await applications.boot({ imports: [pools()], providers: [Everything] });
    const manager = application.get(ConnectionPoolManager);
    for (const pool of Object.values(application.get(Everything))) expect(pool).toBe(manager.getPool('orders'));
  });

  it('an abstract class of the application, and one that is its own class by another name', async () => {
    abstract class OrdersPort {
      abstract query(text: string): Promise<unknown>;
    }
    abstract class OrdersPool extends PostgresPool {}
    abstract class ArchivePool extends OrdersPool {}
    @Injectable()
    class Everything {
      constructor(
        @InjectPool('orders') readonly port: OrdersPort,
        @InjectPool('orders') readonly alias: OrdersPool,
        @InjectPool('orders') readonly aliasOfIt: ArchivePool,
      ) {}
    }
    const application = await applications.boot({ imports: [pools()], providers: [Everything] });
    expect(Object.values(application.get(Everything))).toEqual(Array(3).fill(expect.any(PostgresPool)));
  });

  it('its own class where a module provides a view of it', async () => {
    const view = {
      unscoped: (pool: PoolHandle) => pool.unscoped(),
      tenant: (pool: PoolHandle) => pool.forTenant('acme'),
    };
    for (const of of Object.values(view)) {
      const provided = {
        provide: getPoolToken('orders'),
        inject: [ConnectionPoolManager],
        useFactory: async (manager: ConnectionPoolManager) => of(await manager.table.build('orders')),
      };
      @Injectable()
      class Reports {
        constructor(@InjectPool('orders') readonly orders: PostgresPool) {}
      }
      const application = await applications.boot({
        imports: [pools(), { module: class Feature {}, providers: [provided, Reports] }],
      });
      expect(application.get(Reports, { strict: false }).orders).toBeInstanceOf(PostgresPool);
    }
  });

  it('any class where the compiler emits no metadata', async () => {
    class Plain {
      constructor(readonly orders: unknown) {}
    }
    InjectPool('orders')(Plain, undefined, 0);
    const application = await applications.boot({ imports: [pools()], providers: [Plain] });
    expect(application.get(Plain).orders).toBeInstanceOf(PostgresPool);
  });

  it('its own class, also where a class extends one that injects another pool at the same place', async () => {
    @Injectable()
    class Own extends AsRedis {
      constructor(
        @InjectPool('ftp') ftp: ExternalPool,
        @InjectPool('orders') readonly database: PostgresPool,
      ) {
        super(ftp, Object.create(RedisPool.prototype) as RedisPool);
      }
    }
    await expect(applications.boot({ imports: [pools()], providers: [Own] })).resolves.toBeDefined();
  });
});

describe('a class that extends one which declares a pool wrongly, with a constructor of its own,', () => {
  it('is not refused for what its base class declares', async () => {
    @Injectable()
    class WithoutParameters extends AsRedis {
      constructor() {
        super(Object.create(ExternalPool.prototype) as ExternalPool, Object.create(RedisPool.prototype) as RedisPool);
      }
    }
    @Injectable()
    class ByToken extends AsRedis {
      constructor(
        @Inject(getPoolToken('ftp')) ftp: ExternalPool,
        @Inject(getPoolToken('orders')) readonly database: PostgresPool,
      ) {
        super(ftp, Object.create(RedisPool.prototype) as RedisPool);
      }
    }
    const providers = [WithoutParameters, ByToken];
    const application = await applications.boot({ imports: [pools()], providers });
    expect(application.get(ByToken).database).toBeInstanceOf(PostgresPool);
  });

  it('is not refused where the compiler emits no metadata for it', async () => {
    class Plain extends AsRedis {
      constructor(ftp: ExternalPool, orders: unknown) {
        super(ftp, orders as RedisPool);
      }
    }
    Inject(getPoolToken('orders'))(Plain, undefined, 1);
    await expect(applications.boot({ imports: [pools()], providers: [Plain] })).resolves.toBeDefined();
  });
});

describe('what a test puts in the place of a pool is never refused', () => {
  it.each<[string, unknown]>([
    ['an object', {}],
    ['a pool of the declared class', Object.create(RedisPool.prototype)],
    ['a pool of another class', Object.create(HttpPool.prototype)],
    [
      'a proxy that does not let its class be asked for',
      new Proxy(
        {},
        {
          getPrototypeOf() {
            throw new Error('not known');
          },
        },
      ),
    ],
  ])('%s', async (_, fake) => {
    const application = await applications.boot({ imports: [pools()], providers: [AsRedis] }, (builder) =>
      builder.overrideProvider(getPoolToken('orders')).useValue(fake),
    );
    expect(application.get(AsRedis).orders).toBe(fake);
  });

  it('nor what a module provides under the token of a pool', async () => {
    const fake = {};
    @Module({ providers: [AsRedis, { provide: getPoolToken('orders'), useValue: fake }] })
    class Feature {}
    const application = await applications.boot({ imports: [pools(), Feature] });
    expect(application.get(AsRedis, { strict: false }).orders).toBe(fake);
  });

  it('nor a class that a test puts in the place of the one that injects it', async () => {
    class FakeOrders implements OnModuleInit {
      onModuleInit() {}
    }
    await expect(
      applications.boot({ imports: [pools()], providers: [AsRedis] }, (builder) =>
        builder.overrideProvider(AsRedis).useClass(FakeOrders),
      ),
    ).resolves.toBeDefined();
  });
});
