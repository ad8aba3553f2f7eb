// HTTPS connections over Node's own client, which decides about a connection when an answer ends.
import { describe, jest } from '@jest/globals';

jest.unstable_mockModule('undici', () => {
  throw Object.assign(new Error("Cannot find package 'undici'"), { code: 'ERR_MODULE_NOT_FOUND' });
});
const { expectConnectionsKept } = await import('./support/tls-keep-alive.js');

describe('over HTTPS without undici', () => {
  expectConnectionsKept();
});
