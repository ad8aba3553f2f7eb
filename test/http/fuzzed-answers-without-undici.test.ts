// The same fuzz where undici isn't installed.
import { describe, jest } from '@jest/globals';

jest.unstable_mockModule('undici', () => {
  throw Object.assign(new Error("Cannot find package 'undici'"), { code: 'ERR_MODULE_NOT_FOUND' });
});
const { expectNoHarmFromServers } = await import('./support/fuzz.js');

describe('without undici', () => {
  expectNoHarmFromServers(1_000);
});
