// What an application says that injects from a registration which it doesn't have. No registration of this file goes
// without a name: which ones there are is known of the whole process.
import { afterEach, describe, expect, it } from '@jest/globals';
import { Injectable, Module, Optional } from '@nestjs/common';

import {
  type ConnectionPoolManager,
  getPoolManagerToken,
  getPoolToken,
  InjectPool,
  InjectPoolManager,
  type PoolHandle,
  PoolManagerModule,
  type PoolManagerOptions,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { rejectionOf } from '../support/problems.js';
import { TestApplications } from './applications.js';

const applications = new TestApplications();
afterEach(() => applications.closeSettled());

const options = (): PoolManagerOptions => ({ pools: { orders: { type: 'external', driver: new FakeDriver() } } });
const reporting = (): ReturnType<typeof PoolManagerModule.forRoot> =>
  PoolManagerModule.forRoot({ name: 'reporting', ...options() });
const billing = (): ReturnType<typeof PoolManagerModule.forRoot> =>
  PoolManagerModule.forRoot({ name: 'billing', ...options() });

@Injectable()
class Reports {
  constructor(@InjectPool('orders', 'reportng') readonly orders: PoolHandle) {}
}

describe('what is injected from a registration that there is not', () => {
  it('is told with its place, the registration that was meant and those that there are', async () => {
    const { problems } = await rejectionOf(
      applications.compile({ imports: [reporting(), billing()], providers: [Reports] }),
    );
    expect(problems).toEqual([
      {
        key: 'name',
        rule:
          'no registration is called "reportng", but its pool "orders" is injected into parameter 1 of the constructor ' +
          'of Reports (RootTestModule). Did you mean "reporting"? Registered: "reporting", "billing"',
      },
    ]);
  });

  it('is told of a manager', async () => {
    @Injectable()
    class Statistics {
      constructor(@InjectPoolManager('biling') readonly pools: ConnectionPoolManager) {}
    }
    const { problems } = await rejectionOf(applications.compile({ imports: [billing()], providers: [Statistics] }));
    expect(problems).toMatchObject([
      {
        rule: expect.stringMatching(
          /^no registration is called "biling", but its manager is injected into .*Statistics/,
        ),
      },
    ]);
  });

  it('is told where no registration goes without a name', async () => {
    @Injectable()
    class Orders {
      @InjectPool('orders') readonly orders!: PoolHandle;
    }
    const { problems } = await rejectionOf(applications.compile({ imports: [billing()], providers: [Orders] }));
    expect(problems).toMatchObject([
      {
        rule: expect.stringMatching(
          /^no registration goes without one, but its pool "orders" .* Registered: "billing"$/,
        ),
      },
    ]);
  });

  it('is told of forFeature', async () => {
    @Module({ imports: [PoolManagerModule.forFeature(['orders'], 'bill')] })
    class Feature {}
    const { problems } = await rejectionOf(applications.compile({ imports: [billing(), Feature] }));
    expect(problems).toMatchObject([
      {
        rule: expect.stringMatching(
          /^no .* "bill", but its pool "orders" is imported by forFeature\(\["orders"\], "bill"\)\./,
        ),
      },
    ]);
  });
});

describe('a registration that there is not harms nothing', () => {
  it('where what it would provide is optional, provided, overridden or mocked', async () => {
    @Injectable()
    class Dispensable {
      constructor(@Optional() @InjectPool('orders', 'reportng') readonly orders?: PoolHandle) {}
    }
    const without = await applications.boot({ imports: [billing()], providers: [Dispensable] });
    expect(without.get(Dispensable).orders).toBeUndefined();

    const fake = {};
    const token = getPoolToken('orders', 'reportng');
    const provided = await applications.boot({
      imports: [billing()],
      providers: [Reports, { provide: token, useValue: fake }],
    });
    const overridden = await applications.boot({ imports: [billing()], providers: [Reports] }, (builder) =>
      builder.overrideProvider(token).useValue(fake),
    );
    const mocked = await applications.boot({ imports: [billing()], providers: [Reports] }, (builder) =>
      builder.useMocker(() => fake),
    );
    for (const application of [provided, overridden, mocked]) expect(application.get(Reports).orders).toBe(fake);
  });

  it("where it is only looked up: the answer is Nest's own", async () => {
    const token = getPoolManagerToken('none');
    const application = await applications.boot({ imports: [billing()] });
    expect(() => application.get<unknown>(token)).toThrow('Nest could not find ConnectionPoolManager(none) element');
  });

  it('where a later registration of the process has that name', async () => {
    @Injectable()
    class Late {
      constructor(@InjectPool('orders', 'late') readonly orders: PoolHandle) {}
    }
    const first = billing();
    const late = PoolManagerModule.forRoot({ name: 'late', ...options() });
    const application = await applications.boot({ imports: [first, late], providers: [Late] });
    expect(application.get(Late).orders.status).toBe('healthy');
  });
});
