/**
 * Paths of routes as an application declares them, compared with each other and never with the URL of a request.
 *
 * A URL can be written in many ways (case, `%61`, `//`, `..`, a slash at the end), and each reader decodes it a little
 * differently. The router has read it already, and chose a route; that route has one path, which no client can change.
 *
 * Promise: a pattern covers a route only if it covers every URL that the route answers. Where that isn't certain it
 * doesn't.
 */

/** Says whether it covers the path of a route, as the router has it. */
export type RoutePattern = (routePath: string) => boolean;

/** What is wrong with a pattern; undefined where nothing is. */
export function routePatternProblem(pattern: string): string | undefined {
  if (pattern === '') return 'is empty: write "/" for the route of the root';
  if (/[?#]/.test(pattern)) return 'has a "?" or "#": it is the path of a route, without a query string';
  if (pattern.includes('://')) return 'is a whole URL: only the path is compared, such as "/metrics"';
  if (/[\s\p{Cc}%\\]/u.test(pattern)) {
    return 'has a space, "%" or "\\": it is written as the controller declares it, and not as in a URL';
  }
  const { segments, rest } = split(pattern);
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    return 'has an empty, "." or ".." segment, which no route has';
  }
  if (segments.some((segment) => /[*{}]/.test(segment))) {
    return 'has a wildcard that is not its last segment: write "/admin/*path" for what is below /admin, or "/admin{/*path}" with /admin itself';
  }
  if (rest !== 'none' && segments.length === 0) {
    return 'covers every route: leave out the interceptor instead, or name the paths';
  }
  return undefined;
}

/** @param pattern without a problem. */
export function routePattern(pattern: string): RoutePattern {
  const { segments, rest } = split(pattern);
  return (routePath) => {
    const route = segmentsOf(routePath);
    if (!segments.every((segment, index) => coversSegment(segment, route[index]))) return false;
    const below = route[segments.length];
    switch (rest) {
      case 'none':
        return below === undefined;
      case 'some':
        // A route whose next segment may be missing answers for what is above as well.
        return below !== undefined && !below.startsWith('{');
      case 'any':
        return true;
    }
  };
}

/** What may follow the segments: nothing, one or more segments, or none or more. */
type Rest = 'none' | 'some' | 'any';

function split(pattern: string): { readonly segments: readonly string[]; readonly rest: Rest } {
  const segments = segmentsOf(pattern);
  const last = segments.at(-1) ?? '';
  if (/^\*\w*$/.test(last)) return { segments: segments.slice(0, -1), rest: 'some' };
  if (/^\{\*\w*\}$/.test(last)) return { segments: segments.slice(0, -1), rest: 'any' };
  return { segments, rest: 'none' };
}

/** `/admin{/*path}` has the segments `admin` and `{*path}`, the root has none; a slash at the end adds none. */
function segmentsOf(path: string): readonly string[] {
  const inner = path.replaceAll('{/', '/{').replace(/^\//, '').replace(/\/$/, '');
  return inner === '' ? [] : inner.split('/');
}

/** A parameter of any name stands for any one segment; a text only for itself. */
function coversSegment(segment: string, ofRoute: string | undefined): boolean {
  if (ofRoute === undefined) return false;
  return segment === ofRoute || (/^:\w+$/.test(segment) && !/[*{}]/.test(ofRoute));
}
