/**
 * What a schematic did, and what it left to the user.
 */

export class Review {
  readonly #done: string[] = [];
  readonly #open: string[] = [];
  readonly #next: string[] = [];

  /** What was changed, each once. */
  done(text: string): void {
    if (!this.#done.includes(text)) this.#done.push(text);
  }

  /** What the user has to look at: the place, as `file:line`, and what to do there. */
  open(place: string, text: string): void {
    const line = place === '' ? text : `${place}  ${text}`;
    if (!this.#open.includes(line)) this.#open.push(line);
  }

  /** What to do after this, said only when something was done. */
  next(text: string): void {
    this.#next.push(text);
  }

  get hasDone(): boolean {
    return this.#done.length > 0;
  }

  toString(): string {
    const part = (title: string, lines: readonly string[]): string[] =>
      lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  ${line.replaceAll('\n', '\n    ')}`)];
    return [
      ...part(this.hasDone ? 'Done' : '', this.hasDone ? this.#done : []),
      ...(this.hasDone ? [] : ['', 'Nothing was changed.']),
      ...part('To review', this.#open),
      ...part('Next', this.hasDone ? this.#next : []),
      '',
    ].join('\n');
  }
}
