/**
 * What a session does, one task after the other.
 *
 * Promise: a task is looked at when its turn comes, not when it is asked for: whether it may be sent at all, and what
 * has to go ahead of it, depends on what the task before it did. pg's own queue holds no more than one task and what
 * goes ahead of it; or one-shot statements of a tenant that travel together, of which none depends on another.
 *
 * A turn ends at ReadyForQuery. pg tells the active query of it when it has worked; when it has failed pg doesn't tell
 * the query, but emits `drain` as soon as its queue is empty and the server ready.
 */
import type { Client } from 'pg';

import type { Clock } from '../../engine/time/clock.js';
import type { Deadlines } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import type { TenantSetting } from '../isolation.js';
import type { ActiveQuery } from '../protocol/pg-module.js';
import { PgQueue } from '../protocol/pg-queue.js';
import type { Wire } from '../protocol/wire.js';

/**
 * What task it is. `caller`: a statement of a lease, bound to its tenant and its transaction. `begin`, `end`: of that
 * transaction. `oneShot`: all there is to a lease, and bound by itself. `own`: the session's upkeep.
 */
export type TaskKind = 'caller' | 'begin' | 'end' | 'oneShot' | 'own';

export interface SessionTask extends ActiveQuery {
  readonly kind: TaskKind;
  readonly text?: string | undefined;
  readonly name?: string | undefined;
  /** What binds this task alone to a tenant. */
  readonly binding?: TenantSetting | undefined;
  /** Whether it can only go by the simple protocol, alone: several statements in one text. */
  readonly isScript?: boolean;
  /** Writes it behind what has been written already, if it can go so: `submit` sends it otherwise. */
  writeBehind?(): void;
  /** Whether it is on the wire, or soon will be. */
  readonly isSent?: boolean;
  /** Whether it can be sent while others are, without waiting for their answers. */
  readonly canBatch?: boolean;
  /** What is sent right behind it, without waiting for its answer. The server does nothing of it if the task fails. */
  readonly follower?: SessionTask | undefined;
  /** Its caller has been answered: only the connection waits for its end. */
  readonly answered?: boolean;
  /** It was sent behind another task, and the server works on it now. */
  begun?(): void;
  /**
   * The lease that it belongs to has ended while it runs. May be called again.
   *
   * @returns whether it ends within a limit of its own.
   */
  leaseEnded?(): boolean;
}

/** What a task that writes to the wire needs of its session. */
export interface WireSession {
  readonly wire: Wire;
  /** The task has reached ReadyForQuery. Called ahead of everything that its end sets off. */
  finished(task: SessionTask): void;
  /** Calls `reached` when everything sent so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void;
}

/** What measures time for the sessions of one pool. */
export interface SessionTiming {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
}

/** The session whose queue it is. */
export interface QueueOwner {
  /** Why `task` must not be sent. Asked when its turn has come. */
  rejectionOf(task: SessionTask): Error | undefined;
  /** What has to go out ahead of `task`. */
  resetAheadOf(task: SessionTask): ActiveQuery | undefined;
  /** Whether something may be sent behind `task`, which has nothing ahead, before it is answered. */
  mayBeFollowed(task: SessionTask): boolean;
  /** Sends what tasks have written. */
  send(): void;
  /** pg threw: its queue and ours may have lost step. */
  lostStep(error: Error): void;
}

/** Waits for its turn and sends nothing. */
class ReadyMark {
  constructor(readonly reached: () => void) {}
}

export class SessionQueue {
  readonly #owner: QueueOwner;
  readonly #pg: PgQueue;
  readonly #waiting: (SessionTask | ReadyMark)[] = [];
  #active: SessionTask | undefined = undefined;
  /** What has been sent behind the active task, in its packet. pg has it in its own queue. */
  readonly #behind: SessionTask[] = [];
  /** Called when the active task has been answered to the end. */
  #whenAnswered: (() => void)[] = [];
  /** Nothing is started while tasks that may go together are asked for. */
  #isGathering = false;
  /** Nothing is started while the queue is held. */
  #held = false;
  #whenHeldIsIdle: (() => void) | undefined = undefined;
  /** Why nothing is sent any more. */
  #closed: Error | undefined = undefined;

  constructor(client: Client, owner: QueueOwner) {
    this.#owner = owner;
    this.#pg = new PgQueue(client);
    client.on('drain', () => {
      this.#activeIsOver();
      this.#advance();
    });
  }

  /** What the server is working on. */
  get active(): SessionTask | undefined {
    return this.#active;
  }

  /** Everything asked for has been answered to the end. */
  get isIdle(): boolean {
    return !this.#isRunning && !this.#held && this.#waiting.length === 0;
  }

  get #isRunning(): boolean {
    return this.#active !== undefined || this.#behind.length > 0;
  }

  /** Whether something has been sent behind the active task. */
  get hasFollowers(): boolean {
    return this.#behind.length > 0;
  }

  /** Runs `task` after everything that was asked for before. */
  run(task: SessionTask): void {
    if (this.isIdle && !this.#isGathering) this.#start(task);
    else this.#waiting.push(task);
  }

  /** Runs `tasks` ahead of everything that waits, once the active one is over. */
  runFirst(...tasks: readonly SessionTask[]): void {
    this.#waiting.unshift(...tasks);
    this.#advance();
  }

  /** Calls `reached` when everything asked for so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void {
    if (this.isIdle || this.#closed !== undefined) reached();
    else this.#waiting.push(new ReadyMark(reached));
  }

  /** Lets `ask` ask for several tasks before any of them is started. */
  gather(ask: () => void): void {
    this.#isGathering = true;
    try {
      ask();
    } finally {
      this.#isGathering = false;
      this.#advance();
    }
  }

  /** Calls `reached` when `task`, if it is the active one, has been answered to the end, or the connection is gone. */
  whenAnswered(task: SessionTask, reached: () => void): void {
    if (this.#active !== task) reached();
    else this.#whenAnswered.push(reached);
  }

  /** The active task has been answered to the end. Called ahead of everything that its end sets off. */
  finished(task: SessionTask): void {
    if (this.#active === task) this.#active = undefined;
  }

  /** pg has come to `task`: what was active before has been answered to the end. */
  begins(task: SessionTask): void {
    if (this.#behind[0] !== task) return;
    this.#behind.shift();
    this.#activeIsOver();
    // Those who were told of the end of the one ahead may have ended the connection.
    if (this.#closed !== undefined) return;
    this.#active = task;
    this.#tellIdle();
    task.begun?.();
  }

  #activeIsOver(): void {
    this.#active = undefined;
    if (this.#whenAnswered.length === 0) return;
    const reached = this.#whenAnswered;
    this.#whenAnswered = [];
    for (const call of reached) call();
  }

  /**
   * Starts nothing more until {@link release}.
   *
   * @param idle called as soon as what is active now has been answered.
   */
  hold(idle: () => void): void {
    this.#held = true;
    this.#whenHeldIsIdle = idle;
    if (this.#active === undefined) this.#tellIdle();
  }

  /** Goes on with what waits, after `first`. */
  release(first: SessionTask): void {
    this.#held = false;
    this.#whenHeldIsIdle = undefined;
    this.runFirst(first);
  }

  /**
   * The connection is gone. What waits is told; pg tells what was under way.
   *
   * pg may be in the middle of what has arrived. Where the answers have lost step, what is left of that would be taken
   * for answers to what was sent behind the active task: one caller would get the rows of another.
   */
  close(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#behind.length = 0;
    for (const sent of this.#pg.takeBack()) refuse(sent, new Error('The connection was given up', { cause: error }));
    this.#activeIsOver();
    this.#held = false;
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting instanceof ReadyMark) waiting.reached();
      else refuse(waiting, error);
    }
  }

  #advance(): void {
    while (!this.#isRunning && !this.#held && !this.#isGathering) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (next instanceof ReadyMark) next.reached();
      else this.#start(next);
    }
    if (this.#active === undefined) this.#tellIdle();
  }

  #tellIdle(): void {
    const idle = this.#whenHeldIsIdle;
    this.#whenHeldIsIdle = undefined;
    idle?.();
  }

  #start(task: SessionTask): void {
    const rejection = this.#closed ?? this.#pg.rejection ?? this.#owner.rejectionOf(task);
    if (rejection !== undefined) return refuse(task, rejection);
    this.#active = task;
    try {
      const ahead = this.#owner.resetAheadOf(task);
      const next = this.#waiting[0];
      if (ahead === undefined && next !== undefined && canBatch(task) && canBatch(next)) this.#startTogether(task);
      else this.#pg.submit(ahead, task);
      this.sendFollowerOf(task);
    } catch (error) {
      this.#owner.lostStep(toError(error));
    }
  }

  /** Sends what follows `task`, the active one, unless `task` could not be written. */
  sendFollowerOf(task: SessionTask): void {
    const { follower } = task;
    if (follower === undefined || this.#active !== task || task.isSent !== true || this.#held) return;
    follower.writeBehind?.();
    if (follower.isSent !== true) return;
    this.#behind.push(follower);
    this.#pg.add(follower);
    this.#owner.send();
  }

  /**
   * Sends `task` with those behind it that can go in the same packet. pg is never given one that could not be written:
   * it would take answers to the next for those of this one.
   */
  #startTogether(task: SessionTask): void {
    task.writeBehind?.();
    this.#pg.add(task);
    for (let last = task; last.isSent === true && this.#owner.mayBeFollowed(last);) {
      const next = this.#waiting[0];
      if (!canBatch(next)) break;
      next.writeBehind?.();
      if (next.isSent !== true) break;
      this.#waiting.shift();
      this.#behind.push(next);
      this.#pg.add(next);
      last = next;
    }
    this.#owner.send();
    this.#pg.start();
  }
}

function canBatch(task: SessionTask | ReadyMark | undefined): task is SessionTask {
  return task !== undefined && !(task instanceof ReadyMark) && task.canBatch === true;
}

/** As pg tells it: never before the call that asked for it has returned. */
function refuse(task: ActiveQuery, error: Error): void {
  process.nextTick(() => task.handleError(error));
}
