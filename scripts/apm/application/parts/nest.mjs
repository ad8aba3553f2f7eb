/** A Nest application whose requests are guarded: what its handlers do as their tenants. */
import 'reflect-metadata';
import { once } from 'node:events';
import { request } from 'node:http';
import { text as textOf } from 'node:stream/consumers';
import { Controller, Get, Inject, Module, Req, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  fromHeader,
  getPoolToken,
  PoolHealthModule,
  PoolManagerModule,
  TenantContext,
  TenantGuardInterceptor,
} from 'nestjs-pool-manager';
import { http, pg, redis, rowsOf } from '../calls.mjs';
import { onClass, onMethod, onParameter } from '../decorate.mjs';

const OWN = 'select owner, n from things order by n';
const UP_TO = 'select owner, n from things where n <= $1 order by n';

export async function run(calls, { databaseUrl, redisUrl, upstream }, apm) {
  const app = await NestFactory.create(moduleOf(calls, { databaseUrl, redisUrl, upstream }, apm), {
    logger: false,
    abortOnError: false,
    ...apm.nest.options,
  });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();

  await calls.make('requests of two tenants', [], () =>
    Promise.all(
      Array.from({ length: 12 }, (_, turn) => {
        const tenant = turn % 2 ? 'acme' : 'bolt';
        return calls.make(`request ${turn}, as ${tenant}`, [http('GET /orders')], () =>
          ask(`${url}/orders?turn=${turn}`, { 'x-tenant-id': tenant }),
        );
      }),
    ),
  );
  await calls.make('a request without a tenant', [http('GET /orders')], () => ask(`${url}/orders?turn=none`, {}));
  await calls.make(
    'a request for health',
    [http('GET /health/ready')],
    async () => (await ask(`${url}/health/ready`, {})).status,
  );
  await calls.make('close', [], () => app.close());
}

function moduleOf(calls, { databaseUrl, redisUrl, upstream }, apm) {
  class OrdersController {
    constructor(orders, cache, billing, tenants) {
      Object.assign(this, { orders, cache, billing, tenants });
    }

    async list(incoming) {
      const { turn } = incoming.query;
      const tenant = this.tenants.current();
      const as = `handler ${turn}, as ${tenant}`;
      return {
        tenant,
        query: await calls.make(`${as}: query`, [pg(OWN)], async () => rowsOf(await this.orders.query(OWN)).rows),
        transaction: await calls.make(`${as}: transaction`, [pg(OWN), pg(UP_TO)], () =>
          this.orders.transaction(async (tx) => [
            ...rowsOf(await tx.query(OWN)).rows,
            ...rowsOf(await tx.query(UP_TO, [2])).rows,
          ]),
        ),
        lease: await calls.make(`${as}: lease`, [pg(UP_TO)], () =>
          this.orders.use(async (client) => rowsOf(await client.query(UP_TO, [1])).rows),
        ),
        cache: await calls.make(`${as}: Redis`, [redis('set')], () => this.cache.client.set(`turn:${turn}`, tenant)),
        billing: await calls.make(
          `${as}: HTTP`,
          [http('GET /echo')],
          async () => (await this.billing.axiosRef.get('/echo')).status,
        ),
      };
    }
  }
  onParameter(OrdersController, 0, Inject(getPoolToken('orders')));
  onParameter(OrdersController, 1, Inject(getPoolToken('cache')));
  onParameter(OrdersController, 2, Inject(getPoolToken('billing')));
  onParameter(OrdersController, 3, Inject(TenantContext));
  onMethod(OrdersController, 'list', Get());
  onClass(OrdersController, UseInterceptors(TenantGuardInterceptor), Controller('orders'));
  Req()(OrdersController.prototype, 'list', 0);

  class AppModule {}
  onClass(
    AppModule,
    Module({
      controllers: [OrdersController],
      imports: [
        ...apm.nest.imports,
        PoolHealthModule,
        PoolManagerModule.forRoot({
          pools: {
            orders: {
              type: 'database',
              connectionString: databaseUrl,
              maxSize: 2,
              minSize: 0,
              isolation: { mode: 'rls', setting: 'app.tenant_id' },
              healthCheck: { intervalMs: 0 },
            },
            cache: { type: 'redis', url: redisUrl, maxSize: 2, healthCheck: { intervalMs: 0 } },
            billing: { type: 'http', baseURL: upstream, maxSize: 2, healthCheck: { intervalMs: 0 } },
          },
          tenancy: { resolve: fromHeader('x-tenant-id') },
        }),
      ],
    }),
  );
  return AppModule;
}

async function ask(url, headers) {
  const outgoing = request(url, { headers, agent: false });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  const body = await textOf(response);
  return {
    status: response.statusCode,
    body: response.headers['content-type']?.includes('json') ? JSON.parse(body) : body,
  };
}
