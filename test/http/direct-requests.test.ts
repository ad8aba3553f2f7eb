// The way round axios.
import { describe } from '@jest/globals';

import { expectDirectRequests } from './support/direct-requests.js';

describe('pool.request(url)', () => {
  expectDirectRequests();
});
