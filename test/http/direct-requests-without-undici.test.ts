// The way round axios, over Node's own client.
import { describe, jest } from '@jest/globals';

jest.unstable_mockModule('undici', () => {
  throw Object.assign(new Error("Cannot find package 'undici'"), { code: 'ERR_MODULE_NOT_FOUND' });
});
const { expectDirectRequests } = await import('./support/direct-requests.js');

describe('pool.request(url) without undici', () => {
  expectDirectRequests();
});
