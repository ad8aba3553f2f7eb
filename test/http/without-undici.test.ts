// undici is optional: without it requests go through axios' own adapter and Node's keep-alive agents, with the same
// results.
import { describe, jest } from '@jest/globals';

jest.unstable_mockModule('undici', () => {
  throw Object.assign(new Error("Cannot find package 'undici'"), { code: 'ERR_MODULE_NOT_FOUND' });
});
const { expectPoolToEqualAxios } = await import('./support/equality.js');

describe('without undici, a pool gives what axios gives', () => {
  expectPoolToEqualAxios();
});
