/**
 * Opens the scope of a request before its guards run, so that they can use pools as the tenant.
 */
import { type ExecutionContext, Inject, Injectable, type NestMiddleware, Optional } from '@nestjs/common';

import { PoolConfigError } from '../errors.js';
import { RequestScopes } from './request-scopes.js';
import { TENANCY_OPTIONS, type TenancyOptions } from './tenancy.options.js';
import { isTenantId } from './tenant-id.js';

type HttpArgumentsHost = ReturnType<ExecutionContext['switchToHttp']>;

/**
 * For Express and Fastify, beside `TenantGuardInterceptor` and not in its place: the middleware refuses nothing,
 * because it can't know which handlers need no tenant. Where it finds none, or a malformed one, the guards run without.
 *
 * @example
 * class AppModule implements NestModule {
 *   configure(consumer: MiddlewareConsumer) {
 *     consumer.apply(TenantMiddleware).forRoutes('{*path}');
 *   }
 * }
 */
@Injectable()
export class TenantMiddleware implements NestMiddleware {
  readonly #options: TenancyOptions;

  /** @internal Made by Nest. */
  constructor(
    @Inject(RequestScopes) private readonly scopes: RequestScopes,
    @Optional() @Inject(TENANCY_OPTIONS) options?: TenancyOptions,
  ) {
    if (options == null) {
      const rule =
        "TenantMiddleware needs it to find the tenant of a request, for example { resolve: fromHeader('x-tenant-id') }";
      throw new PoolConfigError([{ key: 'tenancy', rule }]);
    }
    this.#options = options;
  }

  /** Called by Nest for each request. */
  async use(request: unknown, response: unknown, next: () => void): Promise<void> {
    const context = new MiddlewareArguments(request, response, next);
    const { scope } = this.scopes.of(context);
    try {
      const tenantId = await this.#options.resolve(context);
      if (isTenantId(tenantId)) scope.tenantId = tenantId;
    } catch {
      // The interceptor meets the same problem again, and knows whether it matters.
    }
    this.scopes.tenants.runFrame(this.scopes.frameOf(scope, scope.tenantId), next);
  }
}

/** What a resolver gets to see where there is no handler yet. */
class MiddlewareArguments implements ExecutionContext {
  readonly #args: readonly [request: unknown, response: unknown, next: () => void];

  constructor(request: unknown, response: unknown, next: () => void) {
    this.#args = [request, response, next];
  }

  getType<T extends string>(): T {
    return 'http' as T;
  }

  getArgs<T extends unknown[]>(): T {
    return [...this.#args] as unknown[] as T;
  }

  getArgByIndex<T>(index: number): T {
    return this.#args[index] as T;
  }

  switchToHttp(): HttpArgumentsHost {
    return {
      getRequest: <T>() => this.#args[0] as T,
      getResponse: <T>() => this.#args[1] as T,
      getNext: <T>() => this.#args[2] as T,
    };
  }

  switchToRpc(): never {
    throw new Error('Middleware has no message: check getType() first.');
  }

  switchToWs(): never {
    throw new Error('Middleware has no socket: check getType() first.');
  }

  getClass(): never {
    throw new Error('There is no controller yet in middleware.');
  }

  getHandler(): never {
    throw new Error('There is no handler yet in middleware.');
  }
}
