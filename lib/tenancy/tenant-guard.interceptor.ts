/**
 * Runs every handler as the tenant that its request names.
 */
import {
  type CallHandler,
  type ExecutionContext,
  HttpException,
  Inject,
  Injectable,
  type NestInterceptor,
  Optional,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { catchError, from, map, mergeMap, Observable, throwError } from 'rxjs';

import { PoolConfigError, TenantInvalidError } from '../errors.js';
import type { BodyOwner } from './handler-output.js';
import { type Answer, answerTo, TENANT_MALFORMED, TENANT_MISSING } from './pool-error-answer.js';
import type { RequestScope } from './request-scope.js';
import { RequestScopes } from './request-scopes.js';
import { TENANCY_OPTIONS, type TenancyOptions } from './tenancy.options.js';
import { SKIP_TENANT } from './tenant.decorators.js';
import type { ContextFrame } from './tenant-context.js';
import { TenantExemption } from './tenant-exemption.js';
import { assertTenantId } from './tenant-id.js';
import { httpException, transportError } from './transport-error.js';

/**
 * Resolves the tenant of a request with the `tenancy` options of the manager, refuses one that is missing or malformed
 * with 400, and runs the handler, and everything that its response still does (Observables, files, event streams,
 * generators), in the tenant's context. For HTTP on Express and Fastify, GraphQL, microservices and WebSocket.
 *
 * Refusals of a pool become answers: 429 where the tenant is at its own limit, 503 where the pool is busy, closing or
 * cut off from its backend, each with `Retry-After`. Leases that are still out when the response is over are reported,
 * and their connections destroyed; `detach()` exempts those that are meant to outlive it.
 *
 * As a global interceptor it guards other packages' controllers as well; `tenancy.exempt` names those that need no
 * tenant.
 *
 * @throws {PoolConfigError} when it is created and the manager has no `tenancy` options.
 * @example
 * @Controller('orders')
 * @UseInterceptors(TenantGuardInterceptor)
 * class OrdersController {}
 * @example
 * // Every handler of the application:
 * providers: [{ provide: APP_INTERCEPTOR, useClass: TenantGuardInterceptor }]
 */
@Injectable()
export class TenantGuardInterceptor implements NestInterceptor {
  readonly #options: TenancyOptions;
  readonly #exemption: TenantExemption;

  /** @internal Made by Nest. */
  constructor(
    @Inject(RequestScopes) private readonly scopes: RequestScopes,
    @Inject(Reflector) private readonly reflector: Reflector,
    @Optional() @Inject(TENANCY_OPTIONS) options?: TenancyOptions,
  ) {
    if (options == null) {
      const rule =
        "TenantGuardInterceptor needs it to find the tenant of a request, for example { resolve: fromHeader('x-tenant-id') }";
      throw new PoolConfigError([{ key: 'tenancy', rule }]);
    }
    this.#options = options;
    this.#exemption = new TenantExemption(options.exempt);
  }

  /**
   * Called by Nest for each handler that it guards.
   *
   * @throws HttpException, or that of the transport, where the tenant is missing or malformed.
   */
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const { scope, endsWithResponse } = this.scopes.of(context);
    scope.handler = `${context.getClass().name}.${context.getHandler().name}`;
    const tenantId = this.#isSkipped(context) ? undefined : await this.#tenantOf(context, scope);
    return this.#inFrame(this.scopes.frameOf(scope, tenantId), context, next, scope, endsWithResponse);
  }

  #isSkipped(context: ExecutionContext): boolean {
    return (
      this.reflector.getAllAndOverride<boolean | undefined>(SKIP_TENANT, [context.getHandler(), context.getClass()]) ??
      this.#exemption.covers(context)
    );
  }

  /**
   * Asked once a route, by the first interceptor; what a middleware found before the guards doesn't count. The fields
   * of a GraphQL operation share a scope, but each may name a tenant of its own in its arguments.
   */
  async #tenantOf(context: ExecutionContext, scope: RequestScope): Promise<string | undefined> {
    const isRoute = context.getType<string>() === 'http';
    if (isRoute && scope.guarded) return scope.tenantId;
    let tenantId: string | null | undefined;
    try {
      tenantId = await this.#options.resolve(context);
      if (tenantId != null) assertTenantId(tenantId);
    } catch (error) {
      if (error instanceof TenantInvalidError) throw await transportError(TENANT_MALFORMED, context, error);
      throw error;
    }
    if (tenantId == null && this.#options.required !== false) throw await transportError(TENANT_MISSING, context);
    if (isRoute) settle(scope, tenantId ?? undefined);
    return tenantId ?? undefined;
  }

  /**
   * Nest's `handle()` is lazy: the handler runs when its Observable is subscribed to, and what it returns goes on
   * from there. So the subscription is what runs in the frame, and its end as well.
   */
  #inFrame(
    frame: ContextFrame,
    context: ExecutionContext,
    next: CallHandler,
    scope: RequestScope,
    endsWithResponse: boolean,
  ): Observable<unknown> {
    const { tenants, bodies } = this.scopes;
    const owner: BodyOwner = {
      scope,
      run: (step) => tenants.runFrame(frame, step),
      translate: (error) => translated(error, (answer) => httpException(answer, context, error)) ?? error,
      hold: (stop) => scope.hold(stop),
    };
    const streams = ['http', 'graphql'].includes(context.getType<string>());
    return new Observable((subscriber) => {
      const subscription = owner.run(() =>
        next
          .handle()
          .pipe(
            map((value: unknown) => (streams ? bodies.bind(value, owner) : value)),
            catchError((error: unknown) => rejection(error, context)),
          )
          // Not the subscriber itself: it would end what it is subscribed to before, and outside, the frame below.
          .subscribe({
            next: (value) => subscriber.next(value),
            error: (error) => subscriber.error(error),
            complete: () => subscriber.complete(),
          }),
      );
      return () => {
        owner.run(() => subscription.unsubscribe());
        if (!endsWithResponse) scope.handlerDone();
      };
    });
  }
}

function settle(scope: RequestScope, tenantId: string | undefined): void {
  scope.tenantId = tenantId;
  scope.guarded = true;
}

/** What to say instead of an error of the handler; undefined where it says what it means to, or isn't about a pool. */
function translated<T>(error: unknown, say: (answer: Answer) => T): T | undefined {
  const answer = error instanceof HttpException ? undefined : answerTo(error);
  return answer === undefined ? undefined : say(answer);
}

function rejection(error: unknown, context: ExecutionContext): Observable<never> {
  const instead = translated(error, (answer) => transportError(answer, context, error));
  if (instead === undefined) return throwError(() => error);
  return from(Promise.resolve(instead)).pipe(mergeMap((said) => throwError(() => said)));
}
