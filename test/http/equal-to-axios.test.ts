// The same requests through a pool and through axios' own adapter for Node: what the server sees and what the caller
// gets must be the same. Run over undici here, and over Node's client in without-undici.test.ts.
import { describe } from '@jest/globals';

import { expectPoolToEqualAxios } from './support/equality.js';

describe('over undici, a pool gives what axios gives', () => {
  expectPoolToEqualAxios();
});
