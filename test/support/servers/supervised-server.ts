// A server process behind a supervisor (supervisor.mjs), which ends it and removes its directory when this process
// ends, however that happens. What is the same for every server that the tests start: preparation, launch, halt, pause,
// log, final stop.
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { projectRoot } from './project-root.js';
import type { Answer, Event, Launch, Preparation, Request } from './supervisor-protocol.js';

/** A request before it is numbered. */
type WithoutId<R> = R extends { readonly id: number } ? Omit<R, 'id'> : never;

interface Pending {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** So many lines of a server's output are kept for `log()`. */
const LOG_LINES = 500;

export class SupervisedServer {
  readonly #supervisor: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #lines: string[] = [];
  readonly #supervisorGone: Promise<void>;
  #lastId = 0;
  #pid: number | undefined;
  #directory: string | undefined;
  #stopped: Promise<void> | undefined;
  #lostBy: Error | undefined;

  private constructor() {
    const supervisor = spawn(process.execPath, [join(projectRoot, 'test/support/servers/supervisor.mjs')], {
      // A session of its own: Ctrl-C is for the program, which then says when its servers stop.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      // Options of this process's runtime (inspector ports, loaders) are not the supervisor's.
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    this.#supervisor = supervisor;
    supervisor.stdin.on('error', () => {});
    createInterface({ input: supervisor.stdout }).on('line', (line) => this.#heard(JSON.parse(line) as Answer | Event));
    this.#supervisorGone = new Promise((resolve) => {
      supervisor.once('error', (error) => this.#lost(error, resolve));
      supervisor.once('exit', () => this.#lost(new Error('The supervisor of the server has ended.'), resolve));
    });
  }

  /** A supervisor with a prepared directory; nothing runs yet. */
  static async prepare(preparation: Pick<Preparation, 'prefix'> & Partial<Preparation>): Promise<SupervisedServer> {
    const server = new SupervisedServer();
    try {
      const { directory } = await server.#ask({
        request: 'prepare',
        preparation: { files: [], folders: [], commands: [], ...preparation },
      });
      server.#directory = directory;
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** The server's process id; 0 while it isn't running. */
  get pid(): number {
    return this.#pid ?? 0;
  }

  /** The server's directory. */
  get directory(): string {
    if (this.#directory === undefined) throw new Error('The server has no directory yet.');
    return this.#directory;
  }

  /** The last lines that the server printed. */
  log(): string {
    return this.#lines.join('\n');
  }

  /** Starts the server and waits until it accepts connections. */
  async launch(launch: Launch): Promise<void> {
    await this.#ask({ request: 'launch', launch });
  }

  /** Ends the server by `signal` and waits until it has gone. Its directory stays. */
  async halt(signal: NodeJS.Signals): Promise<void> {
    await this.#ask({ request: 'halt', signal });
  }

  /** Stops the server and all its children where they are (SIGSTOP): connections stay, nothing answers. */
  async pause(): Promise<void> {
    await this.#ask({ request: 'freeze' });
  }

  /** Undoes {@link pause}. */
  async resume(): Promise<void> {
    await this.#ask({ request: 'thaw' });
  }

  /** Ends the server for good: process and directory are gone afterwards. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#supervisor.stdin?.end();
      await this.#supervisorGone;
      this.#pid = undefined;
    })();
    return this.#stopped;
  }

  #ask(request: WithoutId<Request>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const refusal = this.#stopped ? new Error(`The server was stopped: can't ${request.request} it.`) : this.#lostBy;
      if (refusal) {
        reject(refusal);
        return;
      }
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject });
      this.#supervisor.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  #heard(message: Answer | Event): void {
    if ('id' in message) {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.pid !== undefined) this.#pid = message.pid;
      if (message.error === undefined) pending?.resolve(message);
      else pending?.reject(new Error(message.error));
    } else if (message.event === 'exit') {
      this.#pid = undefined;
    } else {
      this.#lines.push(message.line);
      if (this.#lines.length > LOG_LINES) this.#lines.shift();
    }
  }

  /** The supervisor has gone. When it was killed, what it would have done is done here. */
  #lost(error: Error, settled: () => void): void {
    this.#lostBy = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    if (this.#stopped === undefined) {
      if (this.#pid !== undefined) {
        try {
          process.kill(this.#pid, 'SIGKILL');
        } catch {
          // It has ended with its supervisor.
        }
      }
      if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10 });
    }
    settled();
  }
}
