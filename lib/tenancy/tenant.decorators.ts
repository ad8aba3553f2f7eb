/**
 * What a controller says about tenants: `@SkipTenant()` and `@CurrentTenant()`.
 */
import {
  createParamDecorator,
  type CustomDecorator,
  Inject,
  Injectable,
  type PipeTransform,
  SetMetadata,
} from '@nestjs/common';

import { TenantContext } from './tenant-context.js';

/** @internal */
export const SKIP_TENANT = 'nestjs-pool-manager:skip-tenant';

/**
 * Exempts a handler, or every handler of a class, from naming a tenant: health checks, metrics, sign-in. It runs
 * without a tenant even where the request names one. What it leases still belongs to the request, and a pool's
 * rejection is still answered with 503.
 *
 * @example
 * @SkipTenant()
 * @Get('health')
 * health() {}
 */
export function SkipTenant(): CustomDecorator {
  return SetMetadata(SKIP_TENANT, true);
}

/**
 * Reads the tenant when Nest works out the arguments of a handler. A pipe, because a parameter decorator can't have
 * anything injected, and the tenant is known to this application's {@link TenantContext} only.
 *
 * @internal
 */
@Injectable()
export class CurrentTenantPipe implements PipeTransform {
  constructor(@Inject(TenantContext) private readonly tenants: TenantContext) {}

  transform(): string | undefined {
    return this.tenants.current();
  }
}

const tenantParameter = createParamDecorator(() => undefined);

/**
 * The tenant of the call as an argument of the handler: a string behind `TenantGuardInterceptor`, undefined where there
 * is none.
 *
 * @example
 * @Get()
 * list(@CurrentTenant() tenant: string) {}
 */
export function CurrentTenant(): ParameterDecorator {
  return tenantParameter(CurrentTenantPipe);
}
