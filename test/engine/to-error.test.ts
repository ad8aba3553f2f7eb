import { once } from 'node:events';
import { connect } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { describeError } from '../../lib/engine/redact.js';
import { isError, toError } from '../../lib/engine/to-error.js';
import { freePort } from '../support/servers/index.js';

describe('what was thrown', () => {
  it('is the error itself where Node made it, also in a realm of its own such as Jest', async () => {
    const socket = connect({ host: '127.0.0.1', port: await freePort() });
    const [thrown]: unknown[] = await once(socket, 'connect').catch((error: unknown) => [error]);
    expect(isError(thrown)).toBe(true);
    expect(toError(thrown)).toBe(thrown);
    expect(describeError(thrown)).toMatch(/^Error \[ECONNREFUSED\]: connect ECONNREFUSED/);
  });

  it('becomes an error that says what it was', () => {
    expect(isError('no')).toBe(false);
    expect(toError('no')).toMatchObject({ message: 'no', cause: 'no' });
  });
});
