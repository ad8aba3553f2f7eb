import { describe, expect, it } from '@jest/globals';

import { type HttpPoolOptions, parseHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { environmentProxyProblem } from '../../lib/http/http-urls.js';
import { problemsOf } from '../support/problems.js';

const parse = (options: HttpPoolOptions) => parseHttpPoolOptions('billing', options, {});
const refusals = (options: unknown) => problemsOf(() => parse(options as HttpPoolOptions));

const NO_AT = 'must not have an @ after its host (write %40, and %2F, %3F, %23 for / ? # in credentials)';
const NO_SPACES = 'must not contain spaces, control characters or backslashes';
const PROXY_HOST = 'must have as its host a name or an address, without protocol, port or credentials';

describe('the options of an HTTP pool', () => {
  it('have the documented defaults', () => {
    expect(parse({})).toMatchObject({
      type: 'http',
      minSize: 1,
      maxSize: 100,
      connectConcurrency: 25,
      timeoutMs: 30_000,
      acquireTimeoutMs: 10_000,
    });
    expect(parse({}).baseURL).toBeUndefined();
    expect(parse({}).headers).toEqual({});
  });

  it.each([
    [{ baseURL: 'billing.example' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'ftp://user:hunter2@billing.example' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'http://user:hun ter2@[' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'http://' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'http:///billing.example' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'http://user:p/hunter2@billing.example' }, 'baseURL: must be an http:// or https:// URL'],
    [{ baseURL: 'http://user:1/hunter2@billing.example' }, `baseURL: ${NO_AT}`],
    [{ baseURL: 'http://user:pa@ss/hunter2@billing.example' }, `baseURL: ${NO_AT}`],
    [{ baseURL: 'http://user:1?hunter2@billing.example' }, `baseURL: ${NO_AT}`],
    [{ baseURL: 'http://user:1#hunter2@billing.example' }, `baseURL: ${NO_AT}`],
    [{ baseURL: 'http://billing.example/#hunter2' }, 'baseURL: must not have a fragment, which is never sent'],
    [{ baseURL: 'http://billing.example/a b' }, `baseURL: ${NO_SPACES}`],
    [{ baseURL: 'http://bil\nling.example' }, `baseURL: ${NO_SPACES}`],
    [{ baseURL: 'http://billing.example\\@hunter2' }, `baseURL: ${NO_SPACES}`],
    [{ baseURL: 'http://a.example,b.example' }, 'baseURL: must name one host'],
    [{ baseURL: 'http://billing.example:0' }, 'baseURL: must not have the port 0'],
    [{ client: { baseURL: 'http://user:1/hunter2@billing.example' } }, `client.baseURL: ${NO_AT}`],
    [
      { baseURL: 'http://billing.example', client: { baseURL: 'http://b.example' } },
      'client.baseURL: must be left out: baseURL is set',
    ],
    [
      { client: { proxy: 'http://user:hunter2@proxy' } },
      'client.proxy: must be false, or an object with host and port (axios takes no URL here)',
    ],
    [{ client: { proxy: { host: 'http://user:hunter2@proxy', port: 1 } } }, `client.proxy: ${PROXY_HOST}`],
    [{ client: { proxy: { host: 'proxy:3128', port: 1 } } }, `client.proxy: ${PROXY_HOST}`],
    [{ client: { proxy: { port: 1 } } }, `client.proxy: ${PROXY_HOST}`],
    [{ client: { proxy: { host: 'proxy', port: 70_000 } } }, 'client.proxy: must have a port between 1 and 65535'],
    [
      { client: { proxy: { host: 'proxy', port: 1, protocol: 'socks5' } } },
      'client.proxy: must have the protocol http or https',
    ],
    [{ client: { url: '/x' } }, 'client.url: belongs to a request: axios does not take it from an instance'],
    [{ healthCheck: { path: '/health' } }, 'healthCheck.path: must be a whole URL where there is no baseURL'],
    [{ healthCheck: { path: 'http://user:1/hunter2@billing.example' } }, `healthCheck.path: ${NO_AT}`],
    [{ timeoutMs: -1 }, 'timeoutMs: must be at least 0, got -1'],
    [{ timeout: 5 }, 'timeout: is not an option. Did you mean timeoutMs?'],
    [{ headers: { 'x-key': 'hunter2\r\nx-admin: yes' } }, 'headers.x-key: must be a text without line breaks'],
    [{ headers: { 'x key': 'v' } }, 'headers["x key"]: is not the name of a header'],
    [{ headers: { authorization: 12345 } }, 'headers.authorization: must be a text, got a number'],
    [{ headers: ['authorization: hunter2'] }, 'headers: must be an object, got a list'],
    [{ client: 'hunter2' }, "client: must be an object of the driver's own options, got a text"],
  ])('refuse %j', (options, problem) => {
    expect(refusals(options)).toEqual([`pools.billing.${problem}`]);
  });

  it.each([
    'http://billing.example',
    'HTTPS://billing.example:8443/v1/',
    'http://us%40er:p%2Fa%23ss@billing.example/v1',
    'http://user:p@ss@billing.example',
    'http://[::1]:8080/',
    'http://bücher.example/%40scope',
    'http://billing.example/v1?key=value',
  ])('take %s', (baseURL) => {
    expect(parse({ baseURL }).baseURL).toBe(baseURL);
  });

  it.each([
    [{ HTTP_PROXY: 'http://user:1/hunter2@proxy' }, 'HTTP_PROXY'],
    [{ http_proxy: 'user:p/hunter2@proxy:3128' }, 'http_proxy'],
    [{ ALL_PROXY: 'http://user:pa ss@proxy' }, 'ALL_PROXY'],
    [{ https_proxy: 'http://user:1/hunter2@proxy' }, undefined],
    [{ HTTP_PROXY: 'http://user:1/hunter2@proxy', NO_PROXY: '*' }, undefined],
    [{ HTTP_PROXY: 'proxy:3128' }, undefined],
    [{ ALL_PROXY: 'socks5://proxy:1080' }, undefined],
    [{}, undefined],
  ])('find a proxy in the environment that cannot be used: %j', (environment, variable) => {
    const found = environmentProxyProblem(environment, 'http://billing.example');
    expect(found?.variable).toBe(variable);
    expect(JSON.stringify(found ?? {})).not.toContain('hunter2');
  });
});
