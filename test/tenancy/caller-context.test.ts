// What an application keeps in an AsyncLocalStorage of its own: every function that tenancy calls finds that of its
// request.
import { AsyncLocalStorage } from 'node:async_hooks';

import { afterEach, describe, expect, it } from '@jest/globals';
import {
  type CanActivate,
  Controller,
  Get,
  type INestApplication,
  Injectable,
  type MiddlewareConsumer,
  Module,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { defer } from 'rxjs';

import type { ExternalPool } from '../../lib/external/external-pool.js';
import { InjectPool } from '../../lib/module/pool-manager.decorators.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { TenantMiddleware } from '../../lib/tenancy/tenant.middleware.js';
import { TenantGuardInterceptor } from '../../lib/tenancy/tenant-guard.interceptor.js';
import { fromHeader } from '../../lib/tenancy/tenant-resolvers.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const requests = new AsyncLocalStorage<string[]>();
const note = (where: string): void => void requests.getStore()?.push(where);

@Injectable()
class Guard implements CanActivate {
  canActivate(): boolean {
    note('guard');
    return true;
  }
}

@Controller()
@UseGuards(Guard)
@UseInterceptors(TenantGuardInterceptor)
class Routes {
  constructor(@InjectPool('work') private readonly pool: ExternalPool<FakeConnection>) {}

  @Get()
  answer(): unknown {
    note('handler');
    return defer(async () => {
      // One slot for all: it comes when another request gives it back.
      await this.pool.use(() => note('use'));
      const lease = await this.pool.acquire();
      note('acquire');
      await new Promise((resolve) => setImmediate(resolve));
      lease.release();
      return requests.getStore();
    });
  }
}

let app: INestApplication | undefined;
afterEach(() => app?.close());

describe('The own context of a request', () => {
  it('is there in resolvers, guards, handlers and behind every wait, for requests that wait for each other', async () => {
    const header = fromHeader('x-tenant-id');
    @Module({
      imports: [
        PoolManagerModule.forRoot({
          pools: { work: { type: 'external', driver: new FakeDriver(), maxSize: 1 } },
          tenancy: {
            resolve: async (context) => {
              await Promise.resolve();
              note('resolve');
              return header(context);
            },
          },
        }),
      ],
      controllers: [Routes],
    })
    class Application {
      configure(consumer: MiddlewareConsumer): void {
        consumer
          .apply(
            (request: { headers: Record<string, string> }, _response: unknown, next: () => void) =>
              requests.run([request.headers['x-tenant-id'] ?? ''], next),
            TenantMiddleware,
          )
          .forRoutes('{*path}');
      }
    }
    app = await NestFactory.create(Application, new ExpressAdapter(), { logger: new LogBook() });
    await app.listen(0, '127.0.0.1');
    const url = await app.getUrl();
    const tenants = Array.from({ length: 20 }, (_, n) => `tenant-${n}`);
    const answers = await Promise.all(
      tenants.map(async (tenant) => (await fetch(url, { headers: { 'x-tenant-id': tenant } })).json()),
    );
    const steps = ['resolve', 'guard', 'resolve', 'handler', 'use', 'acquire'];
    expect(answers).toEqual(tenants.map((tenant) => [tenant, ...steps]));
  });
});
