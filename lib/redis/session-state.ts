/**
 * What the commands of one borrower have left on an exclusive connection.
 *
 * Promise: pessimistic. A command counts from the moment it is sent, whether or not the server took it, so what is
 * reported clean is clean.
 */
import { effectOf } from './redis-commands.js';

/** How to undo what is left, in this order: a queued transaction would swallow the others. */
export type Cleanup = 'discard' | 'unwatch' | 'unsubscribe' | 'punsubscribe' | 'sunsubscribe' | 'select';

export class SessionState {
  #watching = false;
  #inTransaction = false;
  #selected = false;
  #channels = false;
  #patterns = false;
  #shardChannels = false;
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
        this.#channels = true;
        break;
      case 'psubscribe':
        this.#patterns = true;
        break;
      case 'ssubscribe':
        this.#shardChannels = true;
        break;
      case 'lasting':
      case 'ending':
        this.#lasting ??= name;
        break;
    }
  }

  /** The command whose effect only a new connection undoes, if there was one. */
  get lasting(): string | undefined {
    return this.#lasting;
  }

  /** Whether the server keeps something for this session that would be gone on another connection. */
  get bound(): boolean {
    return this.#watching || this.#inTransaction || this.subscribed;
  }

  get subscribed(): boolean {
    return this.#channels || this.#patterns || this.#shardChannels;
  }

  /** What it takes to be as good as new; empty when nothing was left. */
  get cleanups(): readonly Cleanup[] {
    if (!this.bound && !this.#selected) return CLEAN;
    const cleanups: Cleanup[] = [];
    // DISCARD ends the watches too.
    if (this.#inTransaction) cleanups.push('discard');
    else if (this.#watching) cleanups.push('unwatch');
    if (this.#channels) cleanups.push('unsubscribe');
    if (this.#patterns) cleanups.push('punsubscribe');
    if (this.#shardChannels) cleanups.push('sunsubscribe');
    if (this.#selected) cleanups.push('select');
    return cleanups;
  }

  /** The connection has been cleaned. */
  forget(): void {
    this.#watching = false;
    this.#inTransaction = false;
    this.#selected = false;
    this.#channels = false;
    this.#patterns = false;
    this.#shardChannels = false;
  }
}

const CLEAN: readonly Cleanup[] = [];
