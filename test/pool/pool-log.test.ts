import { describe, expect, it } from '@jest/globals';

import { PoolLog } from '../../lib/pool/pool-log.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { LogBook } from '../support/log-book.js';

const LOST = 'warn: Pool "cache": the shared client has no connection: Error: ECONNRESET';
const FAILED = 'warn: Pool "cache" could not connect: Error: ECONNRESET';
const error = new Error('ECONNRESET');

function setUp(): {
  readonly log: PoolLog;
  readonly clock: FakeClock;
  readonly warnings: () => readonly string[];
} {
  const clock = new FakeClock();
  const book = new LogBook();
  const log = new PoolLog('cache', book, clock);
  return { log, clock, warnings: () => book.lines.filter((line) => line.startsWith('warn')) };
}

describe('the log of a pool whose kind has a connection besides its slots', () => {
  it('warns once of the loss of that connection, and of no change of status that follows', () => {
    const { log, warnings } = setUp();
    log.connectionLost('the shared client', error);
    log.status({ from: 'healthy', to: 'degraded', error });
    log.connectFailed(error, false);
    log.status({ from: 'degraded', to: 'unhealthy', error });
    log.connectionLost('the shared client', error);
    expect(warnings()).toEqual([LOST]);
  });

  it('does not warn of the loss where a failed connect has told of the outage', () => {
    const { log, warnings } = setUp();
    log.connectFailed(error, false);
    log.connectionLost('the shared client', error);
    log.status({ from: 'starting', to: 'unhealthy', error });
    expect(warnings()).toEqual([FAILED]);
  });

  it('warns of the loss although the pool has been saturated', () => {
    const { log, warnings } = setUp();
    log.status({ from: 'healthy', to: 'degraded', error: undefined });
    log.connectionLost('the shared client', error);
    expect(warnings().slice(1)).toEqual([LOST]);
  });

  it('takes a connection that comes and goes for one outage, until it has been back for a while', async () => {
    const { log, clock, warnings } = setUp();
    for (let round = 0; round < 4; round++) {
      log.connectionLost('the shared client', error);
      log.restored();
      await clock.advance(4_000);
    }
    expect(warnings()).toEqual([LOST]);
    await clock.advance(1_000);
    log.connectionLost('the shared client', error);
    expect(warnings()).toEqual([LOST, LOST]);
  });
});
