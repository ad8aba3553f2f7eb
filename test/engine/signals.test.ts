import { getEventListeners } from 'node:events';

import { describe, expect, it, type jest } from '@jest/globals';

import { type AbortListener, listenForAbort, stopListeningForAbort } from '../../lib/engine/signals.js';
import { AcquireAbortedError } from '../../lib/errors.js';
import { fakePool } from '../support/fakes/fake-pool.js';
import { withSilentWarnings } from './support/silent-warnings.js';

class Listener implements AbortListener {
  readonly told: unknown[] = [];
  constructor(private readonly onAbort: () => void = () => undefined) {}

  aborted(reason: unknown): void {
    this.told.push(reason);
    this.onAbort();
  }
}

describe('a signal that many calls share', () => {
  let warn: jest.SpiedFunction<typeof process.emitWarning>;
  withSilentWarnings((spy) => (warn = spy));

  it('tells each once, with its reason, and has one listener of Node at a time', () => {
    const controller = new AbortController();
    const listeners = Array.from({ length: 100 }, () => new Listener());
    for (const listener of listeners) listenForAbort(controller.signal, listener);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    const reason = new Error('the client went away');
    controller.abort(reason);
    controller.abort(reason);
    expect(listeners.every(({ told }) => told.length === 1 && told[0] === reason)).toBe(true);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('tells no call that has left, not even one that another makes leave', () => {
    const controller = new AbortController();
    const last = new Listener();
    const first = new Listener(() => stopListeningForAbort(controller.signal, last));
    listenForAbort(controller.signal, first);
    listenForAbort(controller.signal, last);
    controller.abort();
    expect([first.told.length, last.told.length]).toEqual([1, 0]);
  });

  it('is let go of when the last has left, so that Node may collect it', () => {
    const { signal } = new AbortController();
    const listener = new Listener();
    listenForAbort(signal, listener);
    listenForAbort(signal, listener);
    stopListeningForAbort(signal, listener);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    listenForAbort(signal, listener);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  });

  it('tells the others when one throws', () => {
    const controller = new AbortController();
    const after = new Listener();
    listenForAbort(
      controller.signal,
      new Listener(() => {
        throw new Error('broken listener');
      }),
    );
    listenForAbort(controller.signal, after);
    controller.abort();
    expect(after.told).toHaveLength(1);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('broken listener'), {
      type: 'PoolAbortListenerWarning',
    });
  });

  it('ends the wait of all acquires that were given it, without a warning of too many listeners', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire(undefined);
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = Array.from({ length: 50 }, () =>
      pool.acquire(undefined, { signal }).catch((error: unknown) => error),
    );
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort();
    for (const outcome of await Promise.all(waiting)) expect(outcome).toBeInstanceOf(AcquireAbortedError);
    expect([pool.numbers.waiting, warn.mock.calls.length]).toEqual([0, 0]);
    held.release();
  });
});
