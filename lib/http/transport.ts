/**
 * The seam between what holds a slot and what sends the request.
 */
import { Readable } from 'node:stream';

import type { AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import type { Cancellable, HttpSlot } from './http-slot.js';
import type { StreamedBody } from './streamed-body.js';

/** A request that has been sent. */
export interface Sent extends Cancellable {
  /** Settles as the promise of an axios adapter does. With `responseType: 'stream'` the body is still to come. */
  readonly response: Promise<AxiosResponse>;
  /** Once the response is there, or an error with one: its body, if the caller is still to read it. */
  readonly body: StreamedBody | undefined;
  /**
   * Whether its failure counts against the upstream. That of an idle connection which the server had closed does not,
   * nor that of a caller's own adapter, or of another host than the pool's own.
   */
  readonly countsAsFailure: boolean;
  /**
   * Ends it in any phase: closes its socket, and fails the response, or the body that is under way, with `reason`.
   */
  abort(reason: Error): void;
}

export interface Transport {
  /**
   * Called in the caller's async context.
   *
   * @param uploadTaken called once the adapter listens to the upload, if that is a stream.
   */
  send(config: InternalAxiosRequestConfig, slot: HttpSlot, uploadTaken: () => void): Sent;
}

/**
 * axios would pipe a stream that is over already, and wait for its end for ever.
 *
 * @throws what has ended the upload.
 */
export function checkUpload(axios: AxiosStatic, config: InternalAxiosRequestConfig): void {
  const upload: unknown = config.data;
  if (upload instanceof Readable && upload.destroyed && !upload.readableEnded)
    throw failedUpload(axios, config, upload.errored);
}

/** As axios says it: what the stream failed with, or that it was closed before its end. */
export function failedUpload(
  { AxiosError, CanceledError }: AxiosStatic,
  config: InternalAxiosRequestConfig,
  error: Error | null,
): Error {
  return error === null
    ? new CanceledError('Request stream has been aborted', config)
    : AxiosError.from(error, undefined, config);
}

/** Methods that may be sent again: doing them twice is the same as doing them once (RFC 9110, 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method.toUpperCase());
}
