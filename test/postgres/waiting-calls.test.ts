import { describe, expect, it } from '@jest/globals';

import type { UnsafeRoleError } from '../../lib/errors.js';
import { type WaitingCall, WaitingCalls } from '../../lib/postgres/waiting-calls.js';

class Call implements WaitingCall {
  isListed = false;
  previousListed: WaitingCall | undefined = undefined;
  nextListed: WaitingCall | undefined = undefined;

  unsafe(_error: UnsafeRoleError): void {}
}

const NAMES = ['first', 'second', 'third'] as const;

/** A list with three calls in it. */
function threeCalls(): { list: WaitingCalls; calls: Record<(typeof NAMES)[number], Call> } {
  const list = new WaitingCalls();
  const calls = { first: new Call(), second: new Call(), third: new Call() };
  for (const name of NAMES) list.add(calls[name]);
  return { list, calls };
}

describe('calls that wait for a connection', () => {
  it('are told in the order in which they came', () => {
    const { list, calls } = threeCalls();
    expect(list.takeAll()).toEqual([calls.first, calls.second, calls.third]);
    expect(list.takeAll()).toEqual([]);
  });

  it.each(NAMES)('leave the others in their order when the %s one leaves', (name) => {
    const { list, calls } = threeCalls();
    expect(list.delete(calls[name])).toBe(true);
    const last = new Call();
    list.add(last);
    const left = list.takeAll();
    expect(left).toHaveLength(3);
    [...NAMES.filter((other) => other !== name).map((other) => calls[other]), last].forEach((call, at) =>
      expect(left[at]).toBe(call),
    );
  });

  it('are listed once, and leave once', () => {
    const { list, calls } = threeCalls();
    list.add(calls.second);
    expect(list.delete(calls.second)).toBe(true);
    expect(list.delete(calls.second)).toBe(false);
    expect(list.takeAll()).toHaveLength(2);
    expect(list.delete(calls.first)).toBe(false);
  });

  it('lead to no other call once they have left: what has grown old would keep all younger ones alive', () => {
    const { list, calls } = threeCalls();
    list.delete(calls.second);
    list.takeAll();
    for (const name of NAMES)
      expect(calls[name]).toEqual({ isListed: false, previousListed: undefined, nextListed: undefined });
  });
});
