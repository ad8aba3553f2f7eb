/**
 * Finds the scope that a call belongs to, or opens one.
 *
 * A scope belongs to a request, not to an async context: contexts get lost on the way from middleware to handler (a
 * body parser that continues from a socket's event), and a server that was started inside some context would hand it to
 * every request.
 */
import { type ArgumentsHost, Inject, Injectable, Logger } from '@nestjs/common';

import { runOutside } from '../engine/outside-context.js';
import { property, requestOf, responseOf, unwrapped } from './execution-arguments.js';
import { ResponseBodies } from './handler-output.js';
import { RequestScope } from './request-scope.js';
import { ResponseWatch } from './response-watch.js';
import { type ContextFrame, TenantContext } from './tenant-context.js';

@Injectable()
export class RequestScopes {
  /** @internal */
  readonly bodies = new ResponseBodies();
  readonly #byRequest = new WeakMap<object, RequestScope>();
  readonly #watch = new ResponseWatch();
  readonly #logger = new Logger('PoolManager');

  constructor(@Inject(TenantContext) readonly tenants: TenantContext) {}

  /**
   * The scope of the request behind a call. A request that is answered over HTTP has one scope for all interceptors; it
   * ends with the response. A message has a scope of its own, which is ended where it was opened (`handlerDone`).
   */
  of(host: ArgumentsHost): { readonly scope: RequestScope; readonly endsWithResponse: boolean } {
    const response = unwrapped(responseOf(host));
    const request = unwrapped(requestOf(host));
    if (response === undefined || request === undefined)
      return { scope: new RequestScope(this.#logger), endsWithResponse: false };
    const known = this.#byRequest.get(request);
    if (known !== undefined) return { scope: known, endsWithResponse: true };
    const scope = new RequestScope(this.#logger);
    const endsWithResponse = runOutside(() =>
      this.#watch.whenOver(request, response, () =>
        scope.responseOver(property(response, 'writableFinished') === true ? 'sent' : 'client gone'),
      ),
    );
    if (endsWithResponse) this.#byRequest.set(request, scope);
    return { scope, endsWithResponse };
  }

  /** What code of that request runs in. */
  frameOf(scope: RequestScope, tenantId: string | undefined): ContextFrame {
    const current = this.tenants.frame();
    // A lease that surrounds the call still counts when the deadlock of nested acquires is looked for.
    const holding = current?.scope === scope.leases ? current.holding : undefined;
    return { tenantId, scope: scope.leases, holding };
  }
}
