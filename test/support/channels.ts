/**
 * What pools publish on diagnostics channels, written down for as long as a test listens.
 */
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';

import type { POOL_CHANNELS } from '../../lib/index.js';

type ChannelName = (typeof POOL_CHANNELS)[keyof typeof POOL_CHANNELS];

/** One message, with the event of its tracing channel. A copy: some fields change from event to event. */
export interface Published {
  readonly event: string;
  readonly message: Readonly<Record<string, unknown>>;
}

/** A list of messages that grows until it is disposed of. */
export type Recording = Published[] & Disposable;

/** Writes down what is published on a plain channel. @param then called with each message, as a subscriber. */
export function record(name: ChannelName, then: (message: unknown) => void = () => {}): Recording {
  const published: Published[] = [];
  const listener = (message: unknown): void => {
    published.push({ event: 'published', message: { ...(message as object) } });
    then(message);
  };
  subscribe(name, listener);
  return Object.assign(published, { [Symbol.dispose]: () => void unsubscribe(name, listener) });
}

/** Writes down what is published on a tracing channel. @param then called with each event, as a subscriber. */
export function recordTrace(name: ChannelName, then: (event: string) => void = () => {}): Recording {
  const published: Published[] = [];
  const on =
    (event: string) =>
    (message: object): void => {
      published.push({ event, message: { ...message } });
      then(event);
    };
  const subscribers = {
    start: on('start'),
    end: on('end'),
    asyncStart: on('asyncStart'),
    asyncEnd: on('asyncEnd'),
    error: on('error'),
  };
  const channels = tracingChannel(name);
  channels.subscribe(subscribers);
  return Object.assign(published, { [Symbol.dispose]: () => void channels.unsubscribe(subscribers) });
}

/** The events of a recording, in their order. */
export function eventsOf(recording: Recording): readonly string[] {
  return recording.map(({ event }) => event);
}
