/**
 * The optional packages behind an HTTP pool, loaded when the first one is created.
 *
 * `axios` and `@nestjs/axios` must be there. `undici` may be missing: requests then go through axios' own adapter and
 * Node's keep-alive agents, which is correct and slower.
 */
import { createRequire } from 'node:module';

import type { HttpService } from '@nestjs/axios';
import type { AxiosStatic } from 'axios';

import { describeError } from '../engine/redact.js';
import { MissingDriverError } from '../errors.js';
import { errorCode } from './connection-errors.js';
import { isSoundUndici, SOUND_UNDICI } from './undici-version.js';

export type Undici = typeof import('undici');

export interface HttpPackages {
  readonly axios: AxiosStatic;
  readonly HttpService: typeof HttpService;
  /** `undefined` where it isn't installed, or doesn't run on this Node. */
  readonly undici: Undici | undefined;
}

/** Loggers that have been told why undici isn't used: it is the same for every pool of an application. */
const warned = new WeakSet<object>();

interface Logger {
  warn(message: string): void;
}

/** @throws MissingDriverError that names the package to install. */
export async function loadHttpPackages(poolId: string, logger: Logger): Promise<HttpPackages> {
  const axios = await loadAxios(poolId);
  const HttpService = await loadHttpService(poolId);
  return { axios, HttpService, undici: await loadUndici(logger) };
}

// Two functions, because only what is imported inside a try block may be missing for webpack and its like.

async function loadAxios(poolId: string): Promise<AxiosStatic> {
  try {
    const { default: axios } = await import('axios');
    return axios;
  } catch (error) {
    throw new MissingDriverError(poolId, 'axios', error);
  }
}

async function loadHttpService(poolId: string): Promise<HttpPackages['HttpService']> {
  try {
    const { HttpService } = await import('@nestjs/axios');
    return HttpService;
  } catch (error) {
    throw new MissingDriverError(poolId, '@nestjs/axios', error);
  }
}

async function loadUndici(logger: Logger): Promise<Undici | undefined> {
  let reason: string;
  try {
    const undici = await import('undici');
    const { version } = await installedUndici();
    if (isSoundUndici(version)) return undici;
    reason = `with version ${version} a server may be able to end the process by closing a connection; install ${SOUND_UNDICI}`;
  } catch (error) {
    if (isMissing(error)) return undefined;
    // undici 8 needs Node 22.19, for one.
    reason = `undici is installed but failed to load: ${describeError(error)}`;
  }
  if (!warned.has(logger)) logger.warn(`HTTP works without undici, over Node's own client: ${reason}`);
  warned.add(logger);
  return undefined;
}

async function installedUndici(): Promise<{ readonly version: string }> {
  // A Jest that runs CommonJS compiles this package, too. There is no ES module then, but the name of its file.
  const here = typeof __filename === 'string' ? __filename : (await import('./module-url.js')).moduleUrl;
  const found: unknown = createRequire(here)('undici/package.json');
  const version = typeof found === 'object' && found !== null && 'version' in found ? found.version : undefined;
  return { version: String(version) };
}

function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
}
