import { describe, expect, it } from '@jest/globals';

import { type HttpPoolOptions, parseHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { problemsOf } from '../support/problems.js';

const parse = (options: HttpPoolOptions) => parseHttpPoolOptions('billing', options, {});
const refusals = (options: unknown) => problemsOf(() => parse(options as HttpPoolOptions));

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
});
