/**
 * Limits each round of the server's work for a Submittable.
 *
 * A round begins when it is submitted, and with each Execute that it sends (a read of a cursor). It ends when the
 * server has described what there is to read or that there is nothing, when it has sent the rows that were asked for,
 * and when the Submittable is over. The time in which a reader rests counts for nothing. A COPY is limited until its
 * data flows: from then on the server waits for the client.
 */
import type { Connection } from 'pg';

import type { Clock } from '../../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../../engine/time/deadlines.js';

export class ServerRounds extends DeadlineEntry {
  override readonly keepsProcessAlive = true;
  readonly #limitMs: number;
  readonly #deadlines: Deadlines;
  readonly #clock: Clock;
  readonly #tooLong: () => void;
  #connection: Connection | undefined = undefined;
  /** Something is being executed, and not only described. */
  #isExecuting = false;

  /** @param tooLong called when a round has taken longer than `limitMs`. */
  constructor(limitMs: number, deadlines: Deadlines, clock: Clock, tooLong: () => void) {
    super();
    this.#limitMs = limitMs;
    this.#deadlines = deadlines;
    this.#clock = clock;
    this.#tooLong = tooLong;
  }

  /** It is about to be submitted on `connection`. */
  begin(connection: Connection): void {
    this.#connection = connection;
    this.#watch(connection);
    // Of a statement without rows pg tells no query of its own.
    connection.on('noData', this.#noData);
    this.#deadlines.add(this, this.#clock.now() + this.#limitMs);
  }

  /** The server has described what it would send. */
  described(): void {
    if (!this.#isExecuting) this.#deadlines.remove(this);
  }

  readonly #noData = (): void => this.described();

  /** The server waits: for the next read, or for the data of a COPY. */
  paused(): void {
    this.#isExecuting = false;
    this.#deadlines.remove(this);
  }

  /** There are no more rounds. */
  stop(): void {
    this.#deadlines.remove(this);
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    connection.removeListener('noData', this.#noData);
    // The connection's own methods come back from its prototype.
    Reflect.deleteProperty(connection, 'execute');
    Reflect.deleteProperty(connection, 'query');
  }

  override expire(): void {
    this.stop();
    this.#tooLong();
  }

  #watch(connection: Connection): void {
    const { execute, query } = connection;
    connection.execute = (...values) => {
      this.#executes();
      Reflect.apply(execute, connection, values);
    };
    connection.query = (text) => {
      this.#executes();
      Reflect.apply(query, connection, [text]);
    };
  }

  #executes(): void {
    this.#isExecuting = true;
    this.#deadlines.add(this, this.#clock.now() + this.#limitMs);
  }
}
