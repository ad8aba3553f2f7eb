// HTTPS connections are kept, also from a server that answers before the client knows that its request has left.
import { describe } from '@jest/globals';

import { expectConnectionsKept } from './support/tls-keep-alive.js';

describe('over HTTPS', () => {
  expectConnectionsKept();
});
