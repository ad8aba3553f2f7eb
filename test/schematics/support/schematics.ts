// Schematics as Nest's CLI runs them, on projects that exist in memory only.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import prettier from 'prettier';

/** The text of each file, by its path. */
export type Files = Readonly<Record<string, string>>;

export interface SchematicResult {
  readonly files: Files;
  /** What the user reads. */
  readonly log: string;
  readonly tasks: readonly { readonly name: string; readonly options: Readonly<Record<string, unknown>> }[];
}

interface Answer extends Partial<SchematicResult> {
  readonly id: number;
  readonly error?: string;
}

/** The packages of the devkits that Nest's CLIs have. */
export const DEVKITS = [
  { cli: 'Nest 11', devkit: 'angular-devkit-schematics-19' },
  { cli: 'Nest 12', devkit: '@angular-devkit/schematics' },
] as const;

export class Schematics {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #last = 0;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('devkit.mjs', import.meta.url)), { execArgv: [] });
    this.#child.on('message', (answer: Answer) => this.#waiting.get(answer.id)?.(answer));
    this.#child.on('exit', () => {
      for (const [id, resolve] of this.#waiting) resolve({ id, error: 'the process that runs schematics has ended' });
    });
  }

  /** @throws Error with the message that the CLI would show. */
  async run(
    schematic: 'nest-add' | 'migrate',
    options: Readonly<Record<string, unknown>>,
    files: Files,
    devkit: (typeof DEVKITS)[number]['devkit'] = '@angular-devkit/schematics',
  ): Promise<SchematicResult> {
    const id = ++this.#last;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.#child.send({ id, devkit, schematic, options, files });
    const answer = await answered;
    this.#waiting.delete(id);
    if (answer.files === undefined) throw new Error(answer.error ?? 'no answer');
    return { files: answer.files, log: answer.log ?? '', tasks: answer.tasks ?? [] };
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }
}

/** The files that a formatter would change. */
export async function unformatted(files: Files): Promise<string[]> {
  const options = JSON.parse(files['/.prettierrc'] ?? '{}') as prettier.Options;
  const checks = Object.entries(files).map(async ([path, text]) => {
    if (!/\.(?:ts|json)$/.test(path)) return [];
    return (await prettier.check(text, { ...options, filepath: path })) ? [] : [path];
  });
  return (await Promise.all(checks)).flat();
}
