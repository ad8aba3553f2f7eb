// What somebody is told who errs in the options, as people do: what was meant, and what to write.
import { describe, expect, it } from '@jest/globals';

import {
  fromHeader,
  fromPath,
  fromPayload,
  fromSubdomain,
  fromUser,
  TenantGuardInterceptor,
  TenantInvalidError,
} from '../../lib/index.js';
import { parseManagerOptions, type PoolManagerOptions } from '../../lib/manager/pool-manager.options.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { problemsOf } from '../support/problems.js';

/** Unknown, because it is wrong. */
const problems = (options: unknown): string[] =>
  problemsOf(() => parseManagerOptions(options as PoolManagerOptions, { env: {} }));
/** Past the compiler. */
const called = (make: (name: string) => unknown, name: unknown): unknown => Reflect.apply(make, undefined, [name]);
const inPool = (options: object): string[] =>
  problems({ pools: { it: { type: 'external', driver: new FakeDriver(), ...options } } }).map((line) =>
    line.replace('pools.it.', ''),
  );

describe('tenancy.resolve', () => {
  it.each<[(name: string) => unknown, string]>([
    [fromHeader, "fromHeader('x-tenant-id')"],
    [fromSubdomain, "fromSubdomain('example.com')"],
    [fromPath, "fromPath('tenant')"],
    [fromUser, "fromUser('tenantId')"],
    [fromPayload, "fromPayload('tenantId')"],
  ])('is told to be called: %p', (resolve, example) => {
    expect(problems({ pools: {}, tenancy: { resolve } })).toEqual([
      `tenancy.resolve: must be what ${resolve.name} returns: call it, as in ${example}`,
    ]);
  });

  it.each<[unknown, RegExp]>([
    [{ resolve: TenantGuardInterceptor }, /must be a function, got the class TenantGuardInterceptor/],
    [{ resolve: 'x-tenant-id' }, /Did you mean fromHeader\(…\)/],
    [fromHeader('x-tenant-id'), /must be an object, got a function. Did you mean { resolve: … }, with that function\?/],
    [{ resolver: fromHeader('x-tenant-id') }, /resolver: is not an option. Did you mean resolve\?/],
  ])('is not %p', (tenancy, message) => {
    expect(problems({ pools: {}, tenancy }).join('\n')).toMatch(message);
  });

  it.each<[string, () => unknown, string]>([
    ['fromHeader', () => called(fromHeader, undefined), 'needs the name of a header, got nothing'],
    ['fromSubdomain', () => fromSubdomain(''), 'needs a domain, such as "example.com", got an empty text'],
    ['fromSubdomain', () => fromSubdomain('.example.com'), 'needs a domain without a dot in front'],
    ['fromPath', () => fromPath(' '), "needs the name of a route's parameter, got an empty text"],
    ['fromUser', () => called(fromUser, 7), 'needs the name of a property of the user, got a number'],
    ['fromPayload', () => fromPayload(''), 'needs the name of a property of the payload, got an empty text'],
  ])('is not made by %s of nothing', (name, make, rule) => {
    expect(problemsOf(make)).toEqual([`${name}(…): ${rule}`]);
  });
});

describe('the options of tenants', () => {
  const NO_SLOTS = /at least 1, or Infinity, got 0: every acquire would wait in vain. Leave it out where there is no/;

  it.each([
    [{ tenants: { max: 0 } }, NO_SLOTS],
    [{ maxConnectionsPerTenant: 0 }, NO_SLOTS],
    [{ tenants: { overrides: { acme: { max: 0 } } } }, NO_SLOTS],
    [{ tenants: { max: -1 } }, /at least 1, or Infinity, got -1$/],
    [{ tenants: { max: 2.5 } }, /at least 1, or Infinity, got 2.5$/],
    [{ tenants: { max: NaN } }, /at least 1, or Infinity, got NaN$/],
    [{ tenants: { max: '5' } }, /got the text "5" \(convert it with Number\(…\)\)$/],
    [{ tenants: 5 }, /tenants: must be an object, got 5. Did you mean { max: 5 }\?/],
  ])('are told what was meant by %j', (options, message) => {
    expect(inPool(options)).toEqual([expect.stringMatching(message)]);
  });

  it('name the way to give a tenant nothing, which there is', () => {
    expect(inPool({ tenants: { max: 0 } })[0]).toContain(TenantInvalidError.name);
  });
});

describe('values from the environment', () => {
  it.each([
    [
      { maxSize: Number(undefined) },
      /maxSize: must be a number, got NaN, which is what Number\(…\) makes of a variable/,
    ],
    [{ acquireTimeoutMs: '10s' }, /acquireTimeoutMs: must be a number of milliseconds, got a text/],
    [{ critical: 'false' }, /critical: must be true or false, got the text "false" \(convert it: value === 'true'\)/],
    [{ healthCheck: false }, /healthCheck: must be an object, got false. Did you mean { intervalMs: 0 }/],
  ])('are told how to be converted: %j', (options, message) => {
    expect(inPool(options)).toEqual([expect.stringMatching(message)]);
  });

  it.each([
    [{ type: 'database', connectionString: undefined }, /connectionString: is required: .* given as undefined: is the/],
    [
      { type: 'redis', url: undefined },
      /url: is required: .* given as undefined: is the variable that it is read from/,
    ],
    [
      { type: 'database', connectionString: '' },
      /connectionString: must not be empty: is the variable that it is read/,
    ],
    [{ type: 'redis', url: '' }, /url: must not be empty: is the variable that it is read from set\?/],
    [{ type: 'http', baseURL: '' }, /baseURL: must not be empty/],
    [{ type: 'database', connectionString: 'postgres://app:s3cret@undefined/app' }, /must not have "undefined" in the/],
    [{ type: 'redis', url: 'redis://localhost:undefined' }, /must not have "undefined" in the place of a part/],
    [{ type: 'http', baseURL: 'http://undefined' }, /must not have "undefined" in the place of a part/],
  ])('are told to be missing from an address: %j', (pool, message) => {
    const told = problems({ pools: { it: pool } });
    expect(told).toEqual([expect.stringMatching(message)]);
    expect(told.join()).not.toContain('s3cret');
  });

  it('say nothing of undefined where the option was not written', () => {
    expect(problems({ pools: { it: { type: 'database' } } })[0]).not.toContain('undefined');
  });
});

describe('a word that is none of those that there are', () => {
  it.each([
    ['postgres', 'database'],
    ['PostgreSQL', 'database'],
    ['pg', 'database'],
    ['databse', 'database'],
    ['Redis', 'redis'],
    ['ioredis', 'redis'],
    ['axios', 'http'],
  ])('of the type "%s" means "%s"', (type, meant) => {
    expect(problems({ pools: { it: { type } } })).toEqual([
      `pools.it.type: must be "database", "redis", "http" or "external", got "${type}". Did you mean "${meant}"?`,
    ]);
  });

  it('gets no suggestion where none is near', () => {
    expect(problems({ pools: { it: { type: 'kafka' } } })[0]).toMatch(/got "kafka"$/);
  });

  it('of other options gets the nearest too', () => {
    expect(inPool({ startup: 'backgroud' })[0]).toMatch(/Did you mean "background"\?$/);
    const isolated = { type: 'database', connectionString: 'postgres://h/d' };
    expect(problems({ pools: { it: { ...isolated, isolation: { mode: 'rsl' } } } })[0]).toMatch(/mean "rls"\?$/);
    expect(problems({ pools: { it: { ...isolated, isolation: 'rls' } } })[0]).toMatch(/mean { mode: 'rls' }\?$/);
  });
});

describe('what stands in the wrong place', () => {
  class FtpDriver extends FakeDriver {}

  it.each<[unknown, RegExp]>([
    [
      { pools: {}, name: 'x' },
      /^name: is not an option. Did you mean forRootAsync\(\{ name: … }\), beside the factory\?/,
    ],
    [{ pools: {}, isGlobal: true }, /^isGlobal: is not an option. Did you mean forRootAsync/],
    [{ pools: {}, useFactory: () => ({}) }, /^useFactory: is not an option. Did you mean forRootAsync\?/],
    [{ pools: new Map([['it', {}]]) }, /^pools: must be an object, got a Map/],
    [{ pools: {}, applicationName: '' }, /^applicationName: must not be empty/],
    [{ pools: { it: { type: 'external', driver: FtpDriver } } }, /got the class FtpDriver: give an instance of it/],
    [
      { pools: { it: { type: 'external', driver: { open() {} } } } },
      /an object without close, kill, ping, onBroken, isF/,
    ],
  ])('is told where it belongs: %p', (options, message) => {
    expect(problems(options)).toEqual([expect.stringMatching(message)]);
  });

  it('is told whole, also where the name of the option is that of a secret', () => {
    const options = { pools: { it: { type: 'redis', url: 'redis://h', password: '' } } };
    expect(() => parseManagerOptions(options as PoolManagerOptions)).toThrow(
      /pools\.it\.password: must be a text, or a function that returns one/,
    );
  });
});
