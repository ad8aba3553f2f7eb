/**
 * Ready-made answers to the question where a request names its tenant.
 *
 * Promise: none of them guesses. Where a request names two tenants, or one that could be read in two ways, it is
 * malformed and refused; the first or the last of several never wins.
 */
import type { ArgumentsHost } from '@nestjs/common';

import { PoolConfigError, TenantInvalidError } from '../errors.js';
import { typeName } from '../options/option-problems.js';
import { headerValues, payloadOf, property, requestOf, unwrapped, userOf } from './execution-arguments.js';

/** A resolver that needs no handler, so that it works in middleware as well. */
export type TransportTenantResolver = (host: ArgumentsHost) => string | undefined;

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;
const DNS_LABEL = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/;
const PORT = /:\d*$/;

/**
 * A resolver that was made of a variable which is not set would find no tenant, ever.
 *
 * @throws {PoolConfigError}
 */
function requireText(name: unknown, resolver: string, what: string): void {
  if (typeof name === 'string' && name.trim() !== '') return;
  const got = typeof name === 'string' ? 'an empty text' : typeName(name);
  throw new PoolConfigError([{ key: `${resolver}(…)`, rule: `needs ${what}, got ${got}` }]);
}

/**
 * The tenant is the value of a header: of the HTTP request (also behind GraphQL, also of a WebSocket's handshake), or
 * of the message, where its transport has headers.
 *
 * A header that comes twice is malformed unless both say the same. So is one with a comma, because that is how two
 * headers look after a proxy has joined them, and one with a character outside ASCII, because clients don't agree on
 * how such bytes are to be read.
 *
 * @throws {PoolConfigError} at once, without a name.
 * @example tenancy: { resolve: fromHeader('x-tenant-id') }
 */
export function fromHeader(name: string): TransportTenantResolver {
  requireText(name, 'fromHeader', 'the name of a header');
  const key = name.toLowerCase();
  return (host) => {
    let tenant: string | undefined;
    for (const value of headerValues(host, key)) {
      // Kafka has values as bytes.
      const text = value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
      if (typeof text !== 'string') throw new TenantInvalidError(`The header "${key}" is not text`);
      if (!PRINTABLE_ASCII.test(text))
        throw new TenantInvalidError(`The header "${key}" has characters that are not printable ASCII`);
      for (const part of text.split(',')) {
        const id = part.trim();
        if (tenant !== undefined && tenant !== id)
          throw new TenantInvalidError(`The header "${key}" names more than one tenant`);
        tenant = id;
      }
    }
    return tenant;
  };
}

/**
 * The tenant is the label in front of a domain: `acme` for `acme.example.com` and `fromSubdomain('example.com')`.
 *
 * Requests for the domain itself, for another domain or for an excepted label name no tenant; more than one label in
 * front is malformed. Behind a proxy the framework's own setting (Express `trust proxy`, Fastify `trustProxy`) decides
 * whether `X-Forwarded-Host` counts.
 *
 * @param baseDomain without a leading dot.
 * @param options.except labels that are no tenants, such as `www`.
 * @throws {PoolConfigError} at once, without a domain.
 */
export function fromSubdomain(
  baseDomain: string,
  options: { readonly except?: readonly string[] } = {},
): TransportTenantResolver {
  requireText(baseDomain, 'fromSubdomain', 'a domain, such as "example.com"');
  if (baseDomain.startsWith('.'))
    throw new PoolConfigError([{ key: 'fromSubdomain(…)', rule: 'needs a domain without a dot in front' }]);
  const suffix = `.${baseDomain.toLowerCase()}`;
  const except = new Set(options.except?.map((label) => label.toLowerCase()));
  return (host) => {
    const name = hostNameOf(host);
    if (!name?.endsWith(suffix)) return undefined;
    const label = name.slice(0, -suffix.length);
    if (!DNS_LABEL.test(label)) throw new TenantInvalidError('The name in front of the domain is not a single label');
    return except.has(label) ? undefined : label;
  };
}

function hostNameOf(host: ArgumentsHost): string | undefined {
  const request = requestOf(host);
  // Node keeps the first of several Host headers and drops the rest without a word; only the raw list shows them.
  const rawHeaders = property(unwrapped(request), 'rawHeaders');
  if (
    Array.isArray(rawHeaders) &&
    rawHeaders.filter((name, index) => index % 2 === 0 && isHostHeader(name)).length > 1
  ) {
    throw new TenantInvalidError('The request has more than one Host header');
  }
  const headers = property(request, 'headers');
  const name = property(request, 'hostname') ?? property(headers, 'host') ?? property(headers, ':authority');
  return typeof name === 'string' ? name.toLowerCase().replace(PORT, '').replace(/\.$/, '') : undefined;
}

function isHostHeader(name: unknown): boolean {
  return typeof name === 'string' && name.length === 4 && name.toLowerCase() === 'host';
}

/**
 * The tenant is a parameter of the route: `fromPath('tenant')` for `@Controller(':tenant/orders')`. In middleware
 * routes aren't matched yet, so there it finds nothing.
 *
 * @throws {PoolConfigError} at once, without a name.
 */
export function fromPath(param: string): TransportTenantResolver {
  requireText(param, 'fromPath', "the name of a route's parameter");
  return (host) => textOf(property(property(requestOf(host), 'params'), param), `The path parameter "${param}"`);
}

/**
 * The tenant is a property of the user that a guard has authenticated (`request.user`; on a socket `client.user` or
 * `client.data.user`). Whole numbers are taken as their decimal digits.
 *
 * @throws {PoolConfigError} at once, without a name.
 */
export function fromUser(name: string): TransportTenantResolver {
  requireText(name, 'fromUser', 'the name of a property of the user');
  return (host) => {
    const value = property(userOf(host), name);
    return textOf(Number.isSafeInteger(value) ? String(value) : value, `The user's "${name}"`);
  };
}

/**
 * The tenant is a property of what was sent: of the data of a message (microservices, WebSocket), or an argument of a
 * GraphQL field. A sender of messages may then name any tenant.
 *
 * @throws {PoolConfigError} at once, without a name.
 */
export function fromPayload(name: string): TransportTenantResolver {
  requireText(name, 'fromPayload', 'the name of a property of the payload');
  return (host) => {
    const payload = payloadOf(host);
    const own = typeof payload === 'object' && payload !== null && Object.hasOwn(payload, name);
    return own ? textOf(property(payload, name), `The payload's "${name}"`) : undefined;
  };
}

function textOf(value: unknown, what: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new TenantInvalidError(`${what} is not text`);
  return value;
}
