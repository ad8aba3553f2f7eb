/** Why something can't be replaced, and what to do, as part of a sentence for the user. */
export class Unsure extends Error {
  /** The place, where it is another than that of the search. */
  readonly at: string | undefined;

  constructor(message: string, at?: string) {
    super(message);
    this.at = at;
  }
}
