/**
 * The optional packages behind an HTTP pool, loaded when the first one is created.
 *
 * `axios` and `@nestjs/axios` must be there. `undici` may be missing: requests then go through axios' own adapter and
 * Node's keep-alive agents, which is correct and slower.
 */
import type { HttpService } from '@nestjs/axios';
import type { AxiosStatic } from 'axios';
import { describeError } from '../engine/redact.js';
import { MissingDriverError } from '../errors.js';
import { errorCode } from './transport.js';

export type Undici = typeof import('undici');

export interface HttpPackages {
  readonly axios: AxiosStatic;
  readonly HttpService: typeof HttpService;
  /** `undefined` where it isn't installed, or doesn't run on this Node. */
  readonly undici: Undici | undefined;
}

/** @throws MissingDriverError that names the package to install. */
export async function loadHttpPackages(poolId: string, warn: (message: string) => void): Promise<HttpPackages> {
  const axios = await required(poolId, 'axios', () => import('axios'));
  const { HttpService } = await required(poolId, '@nestjs/axios', () => import('@nestjs/axios'));
  return { axios: axios.default, HttpService, undici: await loadUndici(poolId, warn) };
}

async function required<T>(poolId: string, packageName: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new MissingDriverError(poolId, packageName, error);
  }
}

async function loadUndici(poolId: string, warn: (message: string) => void): Promise<Undici | undefined> {
  try {
    return await import('undici');
  } catch (error) {
    if (!isMissing(error)) {
      // undici 8 needs Node 22.19, for one.
      warn(`Pool "${poolId}" works without undici, which is installed but failed to load: ${describeError(error)}`);
    }
    return undefined;
  }
}

function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
}
