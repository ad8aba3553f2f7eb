/**
 * Where a redirect leads, by the rules that axios' own adapter follows in Node.
 *
 * Promise: credentials never cross to another origin, and a body is sent again only where its method is.
 */
import { type HeaderFields, httpUrl, type OutgoingRequest } from './outgoing-request.js';

/** Axios' own limit, unless `maxRedirects` says otherwise. */
export const DEFAULT_MAX_REDIRECTS = 21;

/** The redirect's target, when `status` and `location` are one. */
export function isRedirect(status: number, location: string | string[] | undefined): location is string {
  return status >= 300 && status < 400 && typeof location === 'string' && location !== '';
}

/** The next request; `undefined` when the target can't be requested. */
export function redirected(request: OutgoingRequest, status: number, location: string): OutgoingRequest | undefined {
  const url = httpUrl(location, request.url);
  if (url === undefined) return undefined;

  const becomesGet =
    ((status === 301 || status === 302) && request.method === 'POST') ||
    (status === 303 && request.method !== 'GET' && request.method !== 'HEAD');
  const crossesOrigin = url.origin !== request.url.origin;
  const headers: HeaderFields = {};
  for (const [name, value] of Object.entries(request.headers)) {
    const field = name.toLowerCase();
    if (field === 'host' || field === 'proxy-authorization') continue;
    if (becomesGet && field.startsWith('content-')) continue;
    if (crossesOrigin && (field === 'authorization' || field === 'cookie')) continue;
    headers[name] = value;
  }
  return {
    url,
    path: url.pathname + url.search,
    fragment: url.hash,
    method: becomesGet ? 'GET' : request.method,
    headers,
    body: becomesGet ? undefined : request.body,
  };
}
