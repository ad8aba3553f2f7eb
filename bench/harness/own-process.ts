/**
 * A subject in a process of its own: its code is compiled for its own calls alone and its heap holds nothing else's, as
 * in a service, which has one pool of a kind. Processes take turns; a process that isn't asked is asleep.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/**
 * Each process has the young generation (in MiB) to which V8 lets that of a busy service grow. A benchmark keeps so
 * little alive that it would be left with the first of them, and be collected sixteen times as often.
 */
const SERVICE_FLAGS = ['--expose-gc', '--min-semi-space-size=16'];

/** Figures by name. */
export type Figures<K extends string> = Readonly<Record<K, number>>;

export class OwnProcess<Q extends object, K extends string> {
  readonly #child: ChildProcess;

  /** @param script a module that calls {@link answer}. */
  constructor(script: URL, args: readonly string[]) {
    this.#child = fork(script, args, { execArgv: SERVICE_FLAGS, serialization: 'advanced' });
  }

  ask(question: Q): Promise<Figures<K>> {
    return new Promise((resolve, reject) => {
      const replied = (figures: Figures<K>): void => {
        this.#child.off('exit', gone);
        resolve(figures);
      };
      const gone = (code: number | null): void => {
        reject(new Error(`A subject's process ended with exit code ${code}`));
      };
      this.#child.once('message', replied);
      this.#child.once('exit', gone);
      this.#child.send(question);
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill();
    await exit;
  }
}

/** The other side: answers each question until the parent ends the process, or is gone. */
export function answer<Q, K extends string>(measure: (question: Q) => Promise<Figures<K>>): void {
  process.on('message', (question: Q) => {
    measure(question).then(
      (figures) => process.send?.(figures),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.on('disconnect', () => process.exit());
}
