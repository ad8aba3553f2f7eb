import { describe, expect, it } from '@jest/globals';

import { routePattern, routePatternProblem } from '../../lib/tenancy/route-path.js';

describe('A pattern of routes', () => {
  it.each([
    ['/metrics', '/metrics'],
    ['metrics', '/metrics'],
    ['/metrics/', '/metrics'],
    ['/metrics', '/metrics/'],
    ['/', '/'],
    ['/api/v1/metrics', '/api/v1/metrics'],
    ['/caf\u00e9', '/caf\u00e9'],
    ['/jobs/:id', '/jobs/:jobId'],
    ['/jobs/:id', '/jobs/latest'],
    ['/jobs/:name', '/jobs/:name.json'],
    ['/jobs/:name.json', '/jobs/:name.json'],
    ['/admin/*path', '/admin/queues'],
    ['/admin/*path', '/admin/queues/:id/jobs'],
    ['/admin/*path', '/admin/*splat'],
    ['/admin/*path', '/admin/*'],
    ['/admin/*', '/admin/*splat'],
    ['/admin{/*path}', '/admin'],
    ['/admin{/*path}', '/admin/queues'],
    ['/admin{/*path}', '/admin{/*splat}'],
    ['/admin{/*path}', '/admin/g{/:id}'],
  ])('%s covers the route %s', (pattern, route) => {
    expect(routePatternProblem(pattern)).toBeUndefined();
    expect(routePattern(pattern)(route)).toBe(true);
  });

  it.each([
    ['/metrics', '/'],
    ['/', '/metrics'],
    ['/metrics', '/metrics/all'],
    ['/metrics', '/metric'],
    ['/metrics', '/metricsx'],
    ['/metrics', '/api/metrics'],
    ['/api/metrics', '/metrics'],
    ['/metrics', '/Metrics'],
    ['/metrics', '/:name'],
    ['/metrics', '/*path'],
    ['/metrics', '/metrics{/:id}'],
    ['/metrics', '/metrics{-all}'],
    ['/a.b', '/axb'],
    ['/jobs/:id', '/jobs'],
    ['/jobs/:id', '/jobs/*rest'],
    ['/jobs/:id', '/jobs{/:id}'],
    ['/jobs/latest', '/jobs/:id'],
    ['/admin/*path', '/admin'],
    ['/admin/*path', '/admin{/*splat}'],
    ['/admin/*path', '/administrators'],
    ['/admin/*path', '/:any/queues'],
    ['/admin/*path', '/*path'],
    ['/admin{/*path}', '/'],
    ['/admin{/*path}', '/admins'],
    ['/a/b/*path', '/a/:b/c'],
  ])("%s doesn't cover the route %s, which answers for other URLs as well", (pattern, route) => {
    expect(routePatternProblem(pattern)).toBeUndefined();
    expect(routePattern(pattern)(route)).toBe(false);
  });

  it.each([
    ['', 'empty'],
    ['/metrics?all', 'query string'],
    ['/metrics#top', 'query string'],
    ['https://example.com/metrics', 'whole URL'],
    ['/caf%C3%A9', '"%"'],
    ['/a b', 'space'],
    ['/a\n', 'space'],
    ['\\metrics', '"\\"'],
    ['//metrics', 'empty, "." or ".."'],
    ['/a//b', 'empty, "." or ".."'],
    ['/admin/../orders', 'empty, "." or ".."'],
    ['/./metrics', 'empty, "." or ".."'],
    ['/*path/metrics', 'wildcard'],
    ['/admin*', 'wildcard'],
    ['/admin/(.*)', 'wildcard'],
    ['/jobs{/:id}', 'wildcard'],
    ['/*path', 'every route'],
    ['{/*path}', 'every route'],
    ['*', 'every route'],
  ])('is refused as %j', (pattern, problem) => {
    expect(routePatternProblem(pattern)).toContain(problem);
  });
});
