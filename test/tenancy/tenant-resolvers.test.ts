// What the transports hand over that have no test of their own with a real server: the shapes of their contexts, as
// their packages define them.
import { describe, expect, it } from '@jest/globals';
import { ExecutionContextHost } from '@nestjs/core/internal';

import { TenantInvalidError } from '../../lib/errors.js';
import { fromHeader, fromPath, fromPayload, fromSubdomain, fromUser } from '../../lib/tenancy/tenant-resolvers.js';

function host(type: string, ...args: unknown[]): ExecutionContextHost {
  const context = new ExecutionContextHost(args);
  context.setType(type);
  return context;
}

const message = (context: unknown, data: unknown = {}): ExecutionContextHost => host('rpc', data, context);
const http = (request: unknown): ExecutionContextHost => host('http', request, {});

describe('fromHeader', () => {
  const resolve = fromHeader('X-Tenant-Id');

  it.each([
    ['TCP and Redis metadata', { getMetadata: () => ({ 'X-Tenant-Id': 'acme' }) }],
    ['a NATS message', { getHeaders: () => new Map([['X-Tenant-Id', ['acme']]]) }],
    ['a Kafka message', { getMessage: () => ({ headers: { 'x-tenant-id': Buffer.from('acme') } }) }],
    ['a RabbitMQ message', { getMessage: () => ({ properties: { headers: { 'x-tenant-id': 'acme' } } }) }],
    ['an MQTT 5 packet', { getPacket: () => ({ properties: { userProperties: { 'x-tenant-id': 'acme' } } }) }],
    ['gRPC metadata', { get: (name: string) => (name === 'x-tenant-id' ? ['acme'] : []) }],
  ])('reads %s', (_, context) => {
    expect(resolve(message(context))).toBe('acme');
  });

  it.each([
    ['TCP metadata', { getMetadata: () => ({ 'X-Tenant-Id': 'acme', 'x-tenant-id': 'globex' }) }],
    ['a NATS message', { getHeaders: () => new Map([['x-tenant-id', ['acme', 'globex']]]) }],
    ['a Kafka message', { getMessage: () => ({ headers: { 'x-tenant-id': ['acme', Buffer.from('globex')] } }) }],
    ['gRPC metadata', { get: () => ['acme', 'globex'] }],
  ])('refuses two tenants in %s', (_, context) => {
    expect(() => resolve(message(context))).toThrow(TenantInvalidError);
  });

  it.each([
    ['a message without headers', message({})],
    ['a message without a context', message(undefined)],
    ['a request without headers', http({})],
    ['no request at all', http(undefined)],
    ['a transport that it does not know', host('telegraf', {}, {})],
  ])('finds nothing in %s', (_, context) => {
    expect(resolve(context)).toBeUndefined();
  });

  it('finds nothing that a header is not', () => {
    expect(fromHeader('constructor')(http({ headers: {} }))).toBeUndefined();
  });

  it.each([
    ['Apollo', { req: { headers: { 'x-tenant-id': 'acme' } }, res: {} }],
    ['mercurius', { app: {}, reply: { request: { headers: { 'x-tenant-id': 'acme' } } } }],
    ['a graphql-ws subscription', { req: { extra: { request: { headers: { 'x-tenant-id': 'acme' } } } } }],
  ])('reads the request of a GraphQL operation: %s', (_, context) => {
    expect(resolve(host('graphql', {}, {}, context, {}))).toBe('acme');
  });
});

describe('fromSubdomain', () => {
  const resolve = fromSubdomain('example.com');
  const at = (name: string): ExecutionContextHost => http({ headers: { host: name } });

  it.each([
    ['acme.example.com', 'acme'],
    ['ACME.example.com.', 'acme'],
    ['acme.example.com:8443', 'acme'],
    ['xn--mnchen-3ya.example.com', 'xn--mnchen-3ya'],
    ['example.com', undefined],
    ['acme.example.org', undefined],
    ['evilexample.com', undefined],
    ['[::1]:3000', undefined],
  ])('reads %s as %p', (name, tenant) => {
    expect(resolve(at(name))).toBe(tenant);
  });

  it.each(['a.b.example.com', '.example.com', '-a.example.com', 'ac me.example.com'])('refuses %s', (name) => {
    expect(() => resolve(at(name))).toThrow(TenantInvalidError);
  });

  it('reads the authority of an HTTP/2 request', () => {
    expect(resolve(http({ headers: { ':authority': 'acme.example.com' } }))).toBe('acme');
  });

  it("trusts the framework's own idea of the host name, which knows what its proxies may say", () => {
    expect(resolve(http({ hostname: 'acme.example.com', headers: { host: '10.0.0.7' } }))).toBe('acme');
  });
});

describe('fromUser', () => {
  const resolve = fromUser('org');

  it.each([
    ['a request', http({ user: { org: 'acme' } })],
    ['a GraphQL operation', host('graphql', {}, {}, { req: { user: { org: 'acme' } } }, {})],
    ['a socket', host('ws', { user: { org: 'acme' } }, {})],
    ["a socket's data", host('ws', { data: { user: { org: 'acme' } } }, {})],
    ['the context of a message', message({ user: { org: 'acme' } })],
  ])('finds the user of %s', (_, context) => {
    expect(resolve(context)).toBe('acme');
  });

  it('takes a whole number as its digits, and nothing else that is not text', () => {
    expect(resolve(http({ user: { org: 42 } }))).toBe('42');
    for (const org of [4.2, NaN, true, {}, ['acme']])
      expect(() => resolve(http({ user: { org } }))).toThrow(TenantInvalidError);
  });

  it('believes no user that the caller of a message claims to be', () => {
    expect(resolve(message({}, { user: { org: 'acme' } }))).toBeUndefined();
  });

  it('finds nothing where no guard has set a user', () => {
    expect(resolve(http({}))).toBeUndefined();
    expect(resolve(http({ user: null }))).toBeUndefined();
    expect(resolve(http({ user: {} }))).toBeUndefined();
  });
});

describe('fromPath', () => {
  it('refuses what a wildcard makes of a path', () => {
    expect(() => fromPath('tenant')(http({ params: { tenant: ['a', 'b'] } }))).toThrow(TenantInvalidError);
  });
});

describe('fromPayload', () => {
  const resolve = fromPayload('tenantId');

  it.each([
    ['a message', message({}, { tenantId: 'acme' })],
    ["a socket's message", host('ws', {}, { tenantId: 'acme' })],
    ['a GraphQL field', host('graphql', {}, { tenantId: 'acme' }, {}, {})],
  ])('finds it in %s', (_, context) => {
    expect(resolve(context)).toBe('acme');
  });

  it('finds nothing in a request over HTTP, whose body anyone could fill in beside its header', () => {
    expect(resolve(http({ body: { tenantId: 'acme' } }))).toBeUndefined();
  });

  it.each([undefined, null, 'acme', 7, {}, Object.create({ tenantId: 'acme' })])('finds nothing in %p', (data) => {
    expect(resolve(message({}, data))).toBeUndefined();
  });
});
