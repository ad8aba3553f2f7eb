/**
 * What the commands of one borrower have left on an exclusive connection.
 *
 * Promise: pessimistic. A command counts from the moment it is sent, whether or not the server took it, so what is
 * reported clean is clean.
 */
import { effectOf } from './command-effects.js';

/** A command that undoes something, with its arguments. */
export interface Cleanup {
  readonly name: 'discard' | 'unwatch' | 'unsubscribe' | 'punsubscribe' | 'sunsubscribe' | 'select';
  readonly args: readonly (string | number | Buffer)[];
}

type Channel = string | Buffer;

export class SessionState {
  readonly #channels = new Set<Channel>();
  readonly #patterns = new Set<Channel>();
  readonly #shardChannels = new Set<Channel>();
  #watching = false;
  #inTransaction = false;
  #selected = false;
  #lasting: string | undefined;

  /** Takes note of a command that is about to be sent. */
  observe(name: string, args: readonly unknown[]): void {
    switch (effectOf(name, args)) {
      case 'watch':
        this.#watching = true;
        break;
      case 'unwatch':
        // Inside MULTI it is only queued, and is without effect there.
        this.#watching &&= this.#inTransaction;
        break;
      case 'multi':
        this.#inTransaction = true;
        break;
      case 'end of transaction':
        this.#inTransaction = false;
        this.#watching = false;
        break;
      case 'select':
        this.#selected = true;
        break;
      case 'subscribe':
        addAll(this.#channels, args);
        break;
      case 'psubscribe':
        addAll(this.#patterns, args);
        break;
      case 'ssubscribe':
        addAll(this.#shardChannels, args);
        break;
      case 'lasting':
      case 'ending':
        this.#lasting ??= name;
        break;
      case 'ordinary':
      case 'blocking':
      case 'unsubscribe':
        break;
    }
  }

  /** The command whose effect only a new connection undoes, if there was one. */
  get lasting(): string | undefined {
    return this.#lasting;
  }

  /** Whether the server keeps something for this session that would be gone on another connection. */
  get bound(): boolean {
    return this.#watching || this.#inTransaction || this.#subscribed;
  }

  get #subscribed(): boolean {
    return this.#channels.size + this.#patterns.size + this.#shardChannels.size > 0;
  }

  /**
   * What it takes to be as good as new, in this order: a queued transaction would swallow the others. Empty when
   * nothing was left.
   *
   * @param database the one that the connection belongs on.
   */
  cleanups(database: number): readonly Cleanup[] {
    if (!this.bound && !this.#selected) return NONE;
    const cleanups: Cleanup[] = [];
    // DISCARD ends the watches too.
    if (this.#inTransaction) cleanups.push({ name: 'discard', args: [] });
    else if (this.#watching) cleanups.push({ name: 'unwatch', args: [] });
    // By name: ioredis loses count of an UNSUBSCRIBE from everything while there are subscriptions of another kind.
    if (this.#channels.size > 0) cleanups.push({ name: 'unsubscribe', args: [...this.#channels] });
    if (this.#patterns.size > 0) cleanups.push({ name: 'punsubscribe', args: [...this.#patterns] });
    if (this.#shardChannels.size > 0) cleanups.push({ name: 'sunsubscribe', args: [...this.#shardChannels] });
    if (this.#selected) cleanups.push({ name: 'select', args: [database] });
    return cleanups;
  }

  /** The connection has been cleaned. */
  forget(): void {
    this.#channels.clear();
    this.#patterns.clear();
    this.#shardChannels.clear();
    this.#watching = false;
    this.#inTransaction = false;
    this.#selected = false;
  }
}

const NONE: readonly Cleanup[] = [];

function addAll(channels: Set<Channel>, args: readonly unknown[]): void {
  for (const arg of args.flat()) channels.add(Buffer.isBuffer(arg) ? arg : String(arg));
}
