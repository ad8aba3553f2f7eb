/**
 * Sends what goes round axios over Node's own client, with the slot's keep-alive agents: where undici isn't installed.
 *
 * Promise: what the caller gets leads to no socket, agent or request, because the next borrower of the slot uses the
 * same ones.
 */
import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { pipeline, Readable } from 'node:stream';

import { toError } from '../engine/to-error.js';
import type { DirectBody } from './direct-body.js';
import type { DirectAnswer, DirectAttempt, DirectClient, DirectOptions } from './direct-client.js';
import type { DirectMessage } from './direct-options.js';
import type { HttpSlot, KeepAliveAgents } from './http-slot.js';
import { afterArrivals } from './idle-socket-check.js';
import { destroyUnsent } from './unsent-request.js';

export class DirectOverNode implements DirectClient {
  send(message: DirectMessage, slot: HttpSlot, options: DirectOptions): DirectAttempt {
    return new NodeAttempt(message, slot.agents(), options);
  }

  reconnect(_message: DirectMessage, slot: HttpSlot): void {
    slot.dropAgents();
  }
}

class NodeAttempt implements DirectAttempt {
  readonly answer: Promise<DirectAnswer>;
  readonly #options: DirectOptions;
  sent = false;
  answered = false;
  #request: ClientRequest | undefined;
  #body: DirectBody | undefined;
  #complete = false;
  #aborted: Error | undefined;
  #resolve!: (answer: DirectAnswer) => void;
  #reject!: (error: Error) => void;

  constructor(message: DirectMessage, agents: KeepAliveAgents, options: DirectOptions) {
    this.#options = options;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const send = (): void => {
      if (this.#aborted === undefined) this.#send(message, agents);
    };
    if (agents.connected) afterArrivals(send);
    else send();
  }

  get reusedSocket(): boolean {
    return this.#request?.reusedSocket === true;
  }

  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#request?.destroy(reason);
    this.#fail(reason);
  }

  #send({ url, method, path, headers, body }: DirectMessage, agents: KeepAliveAgents): void {
    const secure = url.protocol === 'https:';
    let request: ClientRequest;
    try {
      request = (secure ? requestHttps : requestHttp)({
        protocol: url.protocol,
        // Brackets belong to URLs, not to IPv6 addresses.
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        path,
        method,
        headers,
        agent: secure ? agents.https : agents.http,
      });
    } catch (error) {
      return this.#fail(toError(error));
    }
    this.#request = request;
    request.once('socket', (socket) => {
      const sent = (): void => void (this.sent = true);
      if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', sent);
      else sent();
    });
    request.on('error', (error) => this.#fail(error));
    request.once('response', (message) => this.#respond(request, message));
    // What ends it without an answer and without an error, such as a protocol that was not asked for.
    request.once('close', () => this.#fail(connectionEnded()));
    if (!(body instanceof Readable)) return void request.end(body);
    // Before the request, which would only say that it was closed.
    body.once('error', (error) => this.#fail(error));
    pipeline(body, request, () => {});
  }

  #respond(request: ClientRequest, message: IncomingMessage): void {
    this.answered = true;
    const body = this.#options.makeBody({
      resume: () => void message.resume(),
      abandoned: () => void request.destroy(),
    });
    this.#body = body;
    message.on('data', (chunk: Buffer) => {
      if (!body.receive(chunk)) message.pause();
    });
    message.once('end', () => {
      this.#complete = true;
      // An answer can be over before the upload that it answers is.
      destroyUnsent(request, () => {});
      body.complete();
    });
    message.on('error', (error) => this.#fail(error));
    const { statusCode = 0, statusMessage = '', headers } = message;
    const fields: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) fields[name] = value;
    this.#resolve({ head: { status: statusCode, statusText: statusMessage, headers: fields }, body });
  }

  /** Without effect after the end. */
  #fail(error: Error): void {
    if (this.#body === undefined) this.#reject(error);
    else if (!this.#complete) this.#body.destroy(this.#options.explain(error));
  }
}

function connectionEnded(): Error {
  return Object.assign(new Error('The connection ended without an answer'), { code: 'ECONNRESET' });
}
