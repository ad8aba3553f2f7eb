/**
 * TLS options that come from several places: the pool's `tls`, ioredis' own `client.tls`, and a `rediss:` URL.
 *
 * Promise: they are merged. Where two places contradict each other there is no TLS to be had: {@link tlsConflict} says
 * so.
 */
import type { RedisOptions } from 'ioredis';

import { isRecord } from '../options/environment.js';

/** What turns TLS on or off, or the options of Node's `tls.connect`, or the name of one of ioredis' profiles. */
type TlsSource = boolean | object | string | undefined;

/** The options of a TLS connection; `undefined`: a plain one. */
export function effectiveTls(pool: TlsSource, client: unknown, urlWantsIt: boolean): RedisOptions['tls'] {
  if (pool === false || (pool === undefined && !isOn(client) && !urlWantsIt)) return undefined;
  return { ...optionsIn(client), ...optionsIn(pool) };
}

/** Why the places contradict each other; without the values, which may be secret. */
export function tlsConflict(pool: TlsSource, client: unknown, urlWantsIt: boolean): string | undefined {
  if (pool === false && urlWantsIt) return 'must not be false with a rediss:// URL';
  if (pool === false && isOn(client)) return 'must not be false beside client.tls';
  const ofPool = optionsIn(pool);
  const twice = Object.entries(optionsIn(client)).find(([name, value]) => name in ofPool && ofPool[name] !== value);
  return twice === undefined ? undefined : `must not set ${twice[0]} to something else than client.tls does`;
}

function isOn(client: unknown): boolean {
  return client !== undefined && client !== null && client !== false;
}

function optionsIn(source: unknown): Readonly<Record<string, unknown>> {
  if (typeof source === 'string') return { profile: source };
  return isRecord(source) ? source : {};
}
