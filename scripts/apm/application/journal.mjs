/** What the application writes down, a line of JSON each, at once: what a crash leaves is still readable. */
import { appendFileSync } from 'node:fs';

export class Journal {
  #file;

  constructor(file) {
    this.#file = file;
  }

  write(entry) {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
  }

  /** What two processes have in common of an error. */
  static error(error) {
    if (!(error instanceof Error)) return { name: typeof error, message: String(error) };
    return { name: error.name, code: error.code, message: error.message };
  }
}
