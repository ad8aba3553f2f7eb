// The resolvers of a GraphQL module: Apollo on Express and mercurius on Fastify.
// (mercurius 16.9: from 16.10 on it needs a package that Jest can't load below Node 24.9.)
import { afterEach, describe, expect, it } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  type DynamicModule,
  type INestApplication,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import {
  Args,
  Field,
  type GqlModuleOptions,
  GraphQLModule,
  Mutation,
  ObjectType,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

import {
  CurrentTenant,
  type ExternalPool,
  fromHeader,
  InjectPool,
  PoolManagerModule,
  SkipTenant,
  TenantContext,
  type TenantExemptOptions,
  TenantGuardInterceptor,
  TenantLimitError,
  TenantMiddleware,
} from '../../lib/index.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { lazyQuery } from './support/application.js';
import { CollectedLog } from './support/log.js';

class Answers {
  constructor(
    @Inject(TenantContext) protected readonly tenants: TenantContext,
    @InjectPool('work') protected readonly pool: ExternalPool<FakeConnection>,
  ) {}

  protected answer(): string {
    return `${this.constructor.name} as ${this.tenants.current() ?? 'none'}`;
  }
}

/** The application's own. */
@Resolver()
class OrdersResolver extends Answers {
  @Query(() => String)
  orders(@CurrentTenant() tenant: string): string {
    return `${this.answer()}, told ${tenant}`;
  }

  @Query(() => String, { nullable: true })
  async lazy(): Promise<string | undefined> {
    return (await lazyQuery(this.tenants)).current;
  }

  @Mutation(() => String)
  order(@Args('item') item: string): string {
    return `${this.answer()}, ${item}`;
  }

  @Query(() => String, { nullable: true })
  busy(): string {
    throw new TenantLimitError('work', { inUse: 1, max: 1, waiting: 0, maxWaiting: 0, retryAfterMs: 1_001 });
  }

  @Query(() => String)
  async forgets(): Promise<string> {
    await this.pool.acquire();
    return 'done';
  }

  @Query(() => String)
  @SkipTenant()
  version(): string {
    return this.answer();
  }
}

@ObjectType()
class Customer {
  @Field(() => String)
  name = 'a customer';
}

/** A type whose fields have resolvers of their own. */
@Resolver(() => Customer)
class CustomersResolver extends Answers {
  @Query(() => Customer)
  customer(): Customer {
    return new Customer();
  }

  @ResolveField(() => String)
  account(): string {
    return this.answer();
  }
}

/** As another package brings it. */
@Resolver()
class MetricsResolver extends Answers {
  @Query(() => String)
  metrics(): string {
    return this.answer();
  }
}

const applications: INestApplication[] = [];
afterEach(async () => {
  await Promise.all(applications.splice(0).map((application) => application.close()));
});

interface Answer {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly { readonly message: string }[];
}

interface Settings {
  readonly exempt?: TenantExemptOptions;
  readonly graphql?: Pick<GqlModuleOptions, 'fieldResolverEnhancers'>;
  readonly middleware?: boolean;
}

describe.each<[string, () => ExpressAdapter | FastifyAdapter, (options: Settings['graphql']) => DynamicModule]>([
  [
    'Apollo on Express',
    () => new ExpressAdapter(),
    (options) => GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true, ...options }),
  ],
  [
    'mercurius on Fastify',
    () => new FastifyAdapter(),
    (options) =>
      GraphQLModule.forRoot<MercuriusDriverConfig>({ driver: MercuriusDriver, autoSchemaFile: true, ...options }),
  ],
])('A guard over all resolvers of %s', (_, adapter, graphqlModule) => {
  async function run({ exempt, graphql, middleware }: Settings = {}) {
    const log = new CollectedLog();
    const tenancy = { resolve: fromHeader('x-tenant-id'), exempt };
    const providers: Type<Answers>[] = [OrdersResolver, CustomersResolver, MetricsResolver];
    @Module({
      imports: [
        PoolManagerModule.forRoot({ pools: { work: { type: 'external', driver: new FakeDriver() } }, tenancy }),
        graphqlModule(graphql),
      ],
      providers: [...providers, { provide: APP_INTERCEPTOR, useClass: TenantGuardInterceptor }],
    })
    class Application implements NestModule {
      configure(consumer: MiddlewareConsumer): void {
        if (middleware) consumer.apply(TenantMiddleware).forRoutes('{*path}');
      }
    }
    const app: INestApplication = await NestFactory.create(Application, adapter(), {
      logger: log,
      abortOnError: false,
    });
    applications.push(app);
    await app.listen(0, '127.0.0.1');
    const url = `${await app.getUrl()}/graphql`;
    const ask = async (query: string, tenant?: string) => {
      const headers = { 'content-type': 'application/json', ...(tenant !== undefined && { 'x-tenant-id': tenant }) };
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query }) });
      return { headers: response.headers, ...((await response.json()) as Answer) };
    };
    return { ask, log };
  }

  it('runs queries and mutations as the tenant of the request', async () => {
    const { ask } = await run();
    expect((await ask('{ orders lazy }', 'acme')).data).toEqual({
      orders: 'OrdersResolver as acme, told acme',
      lazy: 'acme',
    });
    expect((await ask('mutation { order(item: "anvil") }', 'globex')).data).toEqual({
      order: 'OrdersResolver as globex, anvil',
    });
  });

  it.each<[string, Settings]>([
    ['whose interceptors Nest runs', { graphql: { fieldResolverEnhancers: ['interceptors'] } }],
    ['behind TenantMiddleware', { middleware: true }],
  ])('runs resolvers of fields as that tenant %s', async (_what, settings) => {
    const { ask } = await run(settings);
    const answers = await Promise.all(['acme', 'globex'].map((tenant) => ask('{ customer { name account } }', tenant)));
    expect(answers.map(({ data }) => data)).toEqual([
      { customer: { name: 'a customer', account: 'CustomersResolver as acme' } },
      { customer: { name: 'a customer', account: 'CustomersResolver as globex' } },
    ]);
  });

  it('refuses each of them without a tenant, but for those with @SkipTenant', async () => {
    const { ask } = await run();
    for (const query of ['{ orders }', '{ metrics }', 'mutation { order(item: "anvil") }']) {
      expect([query, (await ask(query)).errors]).toEqual([
        query,
        [expect.objectContaining({ message: expect.stringContaining('tenant') })],
      ]);
    }
    expect((await ask('{ version }')).data).toEqual({ version: 'OrdersResolver as none' });
  });

  it.each<[string, TenantExemptOptions]>([
    ['its class', { controllers: [MetricsResolver] }],
    [
      'a predicate',
      { when: (context) => context.getType<string>() === 'graphql' && context.getHandler().name === 'metrics' },
    ],
  ])('exempts a resolver by %s, and no other', async (_what, exempt) => {
    const { ask } = await run({ exempt });
    expect((await ask('{ metrics }')).data).toEqual({ metrics: 'MetricsResolver as none' });
    expect((await ask('{ metrics }', 'acme')).data).toEqual({ metrics: 'MetricsResolver as none' });
    expect((await ask('{ orders }')).errors).toHaveLength(1);
  });

  it("does not exempt resolvers by the path of GraphQL's own route", async () => {
    const { ask } = await run({ exempt: { paths: ['/graphql', '/graphql/*path'] } });
    expect((await ask('{ metrics }')).errors).toHaveLength(1);
  });

  it('answers the refusal of a pool with its text and Retry-After', async () => {
    const { ask } = await run();
    const { data, errors, headers } = await ask('{ busy orders }', 'acme');
    expect(data).toEqual({ busy: null, orders: 'OrdersResolver as acme, told acme' });
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringMatching(/tenant/i) })]);
    expect(headers.get('retry-after')).toBe('2');
  });

  it('reports leases that are still out when the response is over', async () => {
    const { ask, log } = await run();
    expect((await ask('{ forgets }', 'acme')).data).toEqual({ forgets: 'done' });
    expect((await log.line('OrdersResolver.forgets')).message).toContain('work');
  });
});
