/**
 * The password of a pool's connections, which may change while it runs.
 *
 * Promise: a password that is given by a function is asked for before every connect of ours; it is never logged.
 */
import type { Redis } from 'ioredis';

import type { RedisClient } from './redis-client.js';

/** A text, or a function that gives it when it is needed. */
export type PasswordSource = string | (() => string | Promise<string>) | undefined;

export class Credentials {
  readonly #password: PasswordSource;
  readonly #sentinelPassword: PasswordSource;
  #current: string | undefined;
  #currentForSentinels: string | undefined;

  constructor(password: PasswordSource, sentinelPassword: PasswordSource) {
    this.#password = password;
    this.#sentinelPassword = sentinelPassword;
    if (typeof password === 'string') this.#current = password;
    if (typeof sentinelPassword === 'string') this.#currentForSentinels = sentinelPassword;
  }

  /** The passwords as last known; undefined where there is none, or before the first connect. */
  get current(): { readonly password?: string; readonly sentinelPassword?: string } {
    return {
      ...(this.#current !== undefined && { password: this.#current }),
      ...(this.#currentForSentinels !== undefined && { sentinelPassword: this.#currentForSentinels }),
    };
  }

  /** Whether they have to be asked for. */
  get rotate(): boolean {
    return typeof this.#password === 'function' || typeof this.#sentinelPassword === 'function';
  }

  /** Asks for them and has `client` use them from its next connect on. */
  async renew(client: RedisClient): Promise<void> {
    if (typeof this.#password === 'function') this.#current = await this.#password();
    if (typeof this.#sentinelPassword === 'function') this.#currentForSentinels = await this.#sentinelPassword();
    if ('nodes' in client) for (const node of client.nodes()) this.#applyTo(node);
    else this.#applyTo(client);
  }

  /**
   * Has `client` ask again whenever its connection was lost. ioredis reconnects after a delay with what its options
   * then say; a cluster makes clients for its nodes as it finds them.
   */
  follow(client: RedisClient): void {
    if (!this.rotate) return;
    if ('nodes' in client) client.on('+node', (node: Redis) => this.#applyTo(node));
    // No caller waits for it: if it fails, the connect that follows fails with the old password, and is tried again.
    client.on('close', () => void this.renew(client).catch(() => undefined));
  }

  #applyTo(client: Redis): void {
    Object.assign(client.options, this.current);
  }
}
