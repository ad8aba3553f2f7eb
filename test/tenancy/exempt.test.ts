// The interceptor over every handler of an application, some of which are another package's and know no tenants.
import { request as ask } from 'node:http';
import { text } from 'node:stream/consumers';

import { afterEach, describe, expect, it } from '@jest/globals';
import {
  All,
  Controller,
  type ExecutionContext,
  Get,
  type INestApplication,
  Inject,
  type MiddlewareConsumer,
  Module,
  type ModuleMetadata,
  type NestModule,
  VERSION_NEUTRAL,
  VersioningType,
} from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  Transport,
} from '@nestjs/microservices';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { firstValueFrom } from 'rxjs';
import { io } from 'socket.io-client';

import {
  fromHeader,
  PoolHealthModule,
  PoolManagerModule,
  type TenancyOptions,
  TenantContext,
  type TenantExemptOptions,
  TenantGuardInterceptor,
  TenantMiddleware,
} from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { freePort } from '../support/servers/index.js';
import { CollectedLog } from './support/log.js';

class Routes {
  constructor(@Inject(TenantContext) protected readonly tenants: TenantContext) {}

  protected answer(): object {
    return { by: this.constructor.name, tenant: this.tenants.current() ?? null };
  }
}

/** Controllers as other packages bring them. */
@Controller({ path: 'metrics', version: ['1', VERSION_NEUTRAL] })
class MetricsController extends Routes {
  @Get()
  metrics(): object {
    return this.answer();
  }
}

@Controller('admin')
class QueuesController extends Routes {
  @Get('queues/:name')
  jobs(): object {
    return this.answer();
  }

  @All('assets/*')
  assets(): object {
    return this.answer();
  }
}

/** The application's own. */
@Controller('orders')
class OrdersController extends Routes {
  @Get()
  list(): object {
    return this.answer();
  }

  @Get('metrics')
  metrics(): object {
    return this.answer();
  }
}

class OwnMetricsController extends MetricsController {}
Controller('own-metrics')(OwnMetricsController);

@Controller(':customer')
class CustomersController extends Routes {
  @Get('metrics')
  metrics(): object {
    return this.answer();
  }

  @Get('files/*')
  files(): object {
    return this.answer();
  }
}

@Controller()
class Messages extends Routes {
  @MessagePattern('exempt')
  exempt(@Payload() _: object): object {
    return this.answer();
  }
}

@Controller()
class GuardedMessages extends Routes {
  @MessagePattern('guarded')
  guarded(@Payload() _: object): object {
    return this.answer();
  }
}

@WebSocketGateway()
class Gateway extends Routes {
  @SubscribeMessage('exempt')
  exempt(): object {
    return { event: 'answer', data: this.answer() };
  }
}

const applications: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(applications.splice(0).map((application) => application.close()));
});

interface Settings extends ModuleMetadata {
  readonly prefix?: string;
  readonly middleware?: boolean;
  readonly globally?: 'token' | 'method';
}

function moduleOf(exempt: TenantExemptOptions | undefined, settings: Settings) {
  const tenancy: TenancyOptions = { resolve: fromHeader('x-tenant-id'), exempt };
  @Module({
    imports: [
      PoolManagerModule.forRoot({ pools: { work: { type: 'external', driver: new FakeDriver() } }, tenancy }),
      PoolHealthModule,
    ],
    controllers: settings.controllers ?? [
      MetricsController,
      OwnMetricsController,
      QueuesController,
      OrdersController,
      CustomersController,
    ],
    providers: [
      ...(settings.providers ?? []),
      settings.globally === 'method'
        ? TenantGuardInterceptor
        : { provide: APP_INTERCEPTOR, useClass: TenantGuardInterceptor },
    ],
  })
  class Application implements NestModule {
    configure(consumer: MiddlewareConsumer): void {
      if (settings.middleware) consumer.apply(TenantMiddleware).forRoutes('{*path}');
    }
  }
  return Application;
}

describe.each([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter()],
])('A guard over all routes on %s', (_, adapter) => {
  async function run(exempt: TenantExemptOptions | undefined, settings: Settings = {}) {
    const log = new CollectedLog();
    const app: INestApplication = await NestFactory.create(moduleOf(exempt, settings), adapter(), { logger: log });
    applications.push(app);
    if (settings.prefix !== undefined) app.setGlobalPrefix(settings.prefix);
    if (settings.globally === 'method') app.useGlobalInterceptors(app.get(TenantGuardInterceptor));
    app.enableVersioning({ type: VersioningType.URI });
    await app.listen(0, '127.0.0.1');
    const { port } = new URL(await app.getUrl());
    /** The path goes out byte by byte as it is. */
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const client = ask({ port, host: '127.0.0.1', path, headers, agent: false }).end();
      const [status, body] = await new Promise<[number, string]>((resolve, reject) => {
        client.once('error', reject).once('response', (response) => {
          text(response).then((body) => resolve([response.statusCode ?? 0, body]), reject);
        });
      });
      return { status, body: JSON.parse(body) as unknown };
    };
    return { get, log };
  }

  const answerOf = (by: string) => ({ status: 200, body: { by, tenant: null } });

  it.each(['token', 'method'] as const)('guards every route but those of the health module (%s)', async (globally) => {
    const { get } = await run(undefined, { globally });
    for (const path of ['/metrics', '/admin/queues/mail', '/orders', '/acme/metrics']) {
      expect([path, (await get(path)).status]).toEqual([path, 400]);
    }
    for (const path of ['/health', '/health/live', '/health/ready']) {
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    }
  });

  it.each(['token', 'method'] as const)('exempts routes by their paths (%s)', async (globally) => {
    const { get } = await run({ paths: ['/metrics', '/v1/metrics', '/admin/*path'] }, { globally });
    expect(await get('/metrics')).toEqual(answerOf('MetricsController'));
    expect(await get('/v1/metrics')).toEqual(answerOf('MetricsController'));
    expect(await get('/metrics?x-tenant-id=acme')).toEqual(answerOf('MetricsController'));
    expect(await get('/admin/queues/mail')).toEqual(answerOf('QueuesController'));
    expect(await get('/admin/assets/css/page.css')).toEqual(answerOf('QueuesController'));
    for (const path of ['/orders', '/orders/metrics', '/acme/metrics', '/own-metrics', '/acme/files/metrics']) {
      expect([path, (await get(path)).status]).toEqual([path, 400]);
    }
  });

  it('runs what is exempt without a tenant, also where the request names one', async () => {
    const { get } = await run({ paths: ['/metrics'] }, { middleware: true });
    expect(await get('/metrics', { 'x-tenant-id': 'acme' })).toEqual(answerOf('MetricsController'));
    expect(await get('/orders', { 'x-tenant-id': 'acme' })).toEqual({
      status: 200,
      body: { by: 'OrdersController', tenant: 'acme' },
    });
  });

  it('takes whole paths: those without the global prefix exempt nothing behind it', async () => {
    const { get } = await run({ paths: ['/metrics', '/api/admin/*path', '/api/v1/metrics'] }, { prefix: 'api' });
    expect((await get('/api/metrics')).status).toBe(400);
    expect(await get('/api/v1/metrics')).toEqual(answerOf('MetricsController'));
    expect(await get('/api/admin/queues/mail')).toEqual(answerOf('QueuesController'));
  });

  it('exempts a version alone', async () => {
    const { get } = await run({ paths: ['/v1/metrics'] });
    expect(await get('/v1/metrics')).toEqual(answerOf('MetricsController'));
    expect((await get('/metrics')).status).toBe(400);
  });

  it('exempts a controller by its class, at all its paths, and not those that extend it', async () => {
    const { get } = await run({ controllers: [MetricsController] });
    expect(await get('/metrics')).toEqual(answerOf('MetricsController'));
    expect(await get('/v1/metrics')).toEqual(answerOf('MetricsController'));
    expect((await get('/own-metrics')).status).toBe(400);
    expect((await get('/admin/queues/mail')).status).toBe(400);
  });

  it('exempts what a predicate says, by the handler or by the request', async () => {
    const when = (context: ExecutionContext): boolean =>
      context.getHandler().name === 'jobs' ||
      context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-probe'] === 'yes';
    const { get } = await run({ when });
    expect(await get('/admin/queues/mail')).toEqual(answerOf('QueuesController'));
    expect((await get('/orders')).status).toBe(400);
    expect(await get('/orders', { 'x-probe': 'yes' })).toEqual(answerOf('OrdersController'));
  });

  it.each<[string, () => unknown, string]>([
    [
      'throws',
      () => {
        throw new Error('no list at postgres://app:hunter2@db');
      },
      'threw Error: no list at postgres://***@db',
    ],
    ['returns a promise', () => Promise.reject(new Error('unseen')), 'got a promise'],
    ['returns nothing', () => undefined, 'must return true or false, got nothing'],
    ['returns a text', () => 'yes', 'must return true or false, got a text'],
  ])('answers 500 when the predicate %s, and the handler does not run', async (_what, answer, rule) => {
    const when = { when: answer } as TenantExemptOptions;
    const { get, log } = await run({ ...when, paths: ['/metrics'] });
    const { status, body } = await get('/orders', { 'x-tenant-id': 'acme' });
    expect({ status, body }).toEqual({ status: 500, body: { statusCode: 500, message: 'Internal server error' } });
    expect((await log.line('tenancy.exempt.when')).message).toContain(rule);
    expect((await get('/metrics')).status).toBe(200);
  });

  it('is not talked out of it by the way in which a URL is written', async () => {
    const { get } = await run({ paths: ['/metrics', '/admin/*path'] });
    const pieces = ['metrics', 'METRICS', 'orders', 'admin', 'admin/..', '%2e%2e', '%6detrics', '.', ''];
    const ends = ['', '/', '?path=/metrics', '%2f..%2f', '%00', '/files/metrics'];
    const paths = pieces.flatMap((first) => pieces.flatMap((second) => ends.map((end) => `/${first}/${second}${end}`)));
    const served: string[] = [];
    for (const path of paths) {
      const { status, body } = await get(path);
      if (status !== 200) expect([path, [400, 404].includes(status)]).toEqual([path, true]);
      else if (!/"by":"(Metrics|Queues)Controller"/.test(JSON.stringify(body))) served.push(path);
    }
    expect(served).toEqual([]);
    // What a customer is called is the client's choice: an exempt path as it looks, and a guarded route.
    for (const path of ['/admin/metrics', '/admin/files/metrics', '/metrics/metrics']) {
      expect([path, (await get(path)).status]).toEqual([path, 400]);
    }
  });
});

describe('A guard over all handlers', () => {
  it('exempts controllers of messages by their class, and paths have no say there', async () => {
    const options = { host: '127.0.0.1', port: await freePort() };
    const app = await NestFactory.createMicroservice<MicroserviceOptions>(
      moduleOf({ controllers: [Messages], paths: ['/guarded'] }, { controllers: [Messages, GuardedMessages] }),
      { transport: Transport.TCP, options, logger: new CollectedLog() },
    );
    applications.push(app);
    await app.listen();
    const client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    applications.push({ close: async () => void (await client.close()) });
    expect(await firstValueFrom(client.send<unknown>('exempt', {}))).toEqual({ by: 'Messages', tenant: null });
    await expect(firstValueFrom(client.send<unknown>('guarded', {}))).rejects.toMatchObject({ status: 'error' });
  });

  it.each<[string, TenantExemptOptions]>([
    ['its class', { controllers: [Gateway] }],
    ['a predicate', { when: (context) => context.getType() === 'ws' }],
  ])('exempts a gateway by %s', async (_, exempt) => {
    const app = await NestFactory.create(
      moduleOf(exempt, { controllers: [], providers: [Gateway] }),
      new ExpressAdapter(),
      { logger: new CollectedLog() },
    );
    applications.push(app);
    await app.listen(0, '127.0.0.1');
    const socket = io(await app.getUrl(), { transports: ['websocket'], reconnection: false });
    applications.push({ close: async () => void socket.disconnect() });
    const answered = new Promise((resolve, reject) => socket.once('answer', resolve).once('exception', reject));
    socket.emit('exempt', {});
    expect(await answered).toEqual({ by: 'Gateway', tenant: null });
  });
});
