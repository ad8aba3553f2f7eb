// Servers that cut, reset, lie about lengths, answer early or say what they were not asked: over undici here, over
// Node's client in fuzzed-answers-without-undici.test.ts.
import { describe } from '@jest/globals';

import { expectNoHarmFromServers } from './support/fuzz.js';

describe('over undici', () => {
  expectNoHarmFromServers(1_000);
});
