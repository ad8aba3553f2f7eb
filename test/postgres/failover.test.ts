/**
 * What a pool does about connections that have refused a write: a standby and a session that is read-only are told
 * apart.
 */
import { beforeEach, describe, expect, it } from '@jest/globals';

import { Failover } from '../../lib/postgres/failover.js';
import { FakeClock } from '../support/fakes/fake-clock.js';

const WRITES = { in_hot_standby: 'off', default_transaction_read_only: 'off' };
const READ_ONLY = { in_hot_standby: 'off', default_transaction_read_only: 'on' };

let clock: FakeClock;
let evictions: number;
let failover: Failover;

beforeEach(() => {
  clock = new FakeClock();
  evictions = 0;
  failover = new Failover({ clock, poolId: 'main', logger: { warn: () => {} } });
  failover.attach({ evict: () => evictions++ });
  failover.opened(WRITES);
});

describe('a connection to a standby', () => {
  it('has every connection replaced, also right after a session that was read-only', () => {
    expect(failover.told('readOnly')).toBe(true);
    expect(failover.told('standby')).toBe(true);
    expect(evictions).toBe(1);
  });

  it('is replaced itself each time, the others every five seconds at most', async () => {
    for (let met = 0; met < 3; met++) expect(failover.told('standby')).toBe(true);
    expect(evictions).toBe(1);
    await clock.advance(5_000);
    expect(failover.told('standby')).toBe(true);
    expect(evictions).toBe(2);
  });
});

describe('a session that is read-only', () => {
  it('is replaced also right after a standby was met', () => {
    failover.opened(READ_ONLY);
    failover.told('standby');
    expect(failover.told('readOnly')).toBe(true);
    expect(evictions).toBe(1);
  });

  it('is replaced every five seconds at most while new ones are read-only, too', async () => {
    failover.opened(READ_ONLY);
    expect(failover.told('readOnly')).toBe(true);
    expect(failover.told('readOnly')).toBe(false);
    await clock.advance(5_000);
    expect(failover.told('readOnly')).toBe(true);
    expect(evictions).toBe(0);
  });
});
