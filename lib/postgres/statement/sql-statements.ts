/**
 * Takes a text of SQL apart into its statements, as the server's own scanner does (scan.l), so that what is a command
 * there is one here: comments nest, a carriage return ends a line, identifiers hold dollar signs and letters of any
 * language, a literal with escapes goes on behind a line break.
 */

/** One statement of a text. */
export interface SqlStatement {
  /**
   * Its words in small letters with one space between them: without comments, quoted names without their quotes, names
   * with dots in one piece, literals reduced to what could be a name, bodies in dollar quotes left out.
   */
  readonly words: string;
  /** As it was written. */
  readonly raw: string;
}

/** A name in Unicode escapes: it could be any. */
export const ANY_NAME = '\uFFFD';

const SPACE = /[ \t\n\r\f\v]+|--[^\n\r]*/y;
const WORD = /[a-z_\u0080-\uffff][\w$\u0080-\uffff]*/iy;
const DOLLAR_TAG = /\$(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/iy;
/** Between two parts of one literal. */
const GOES_ON = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'/y;

/** @param escapes every literal has escapes, as with `standard_conforming_strings` off. */
export function statementsOf(text: string, escapes = false): SqlStatement[] {
  return new Scanner(text, escapes).statements();
}

/** The first word of a text, in small letters, behind its comments; no more of the text is looked at. */
export function firstWordOf(text: string): string {
  return new Scanner(text, false).firstWord();
}

class Scanner {
  readonly #text: string;
  readonly #escapes: boolean;
  #at = 0;
  #begin = 0;
  #words = '';
  readonly #statements: SqlStatement[] = [];

  constructor(text: string, escapes: boolean) {
    this.#text = text;
    this.#escapes = escapes;
  }

  statements(): SqlStatement[] {
    const text = this.#text;
    while (this.#at < text.length) this.#next();
    this.#end();
    return this.#statements;
  }

  firstWord(): string {
    while (this.#at < this.#text.length && this.#words === '') this.#next();
    return this.#words;
  }

  #next(): void {
    const text = this.#text;
    if (this.#take(SPACE) !== undefined) return;
    if (text.startsWith('/*', this.#at)) return this.#comment();
    const word = this.#take(WORD);
    if (word !== undefined) return this.#word(word.toLowerCase());
    const character = text.charAt(this.#at);
    if (character === "'") return this.#literal(this.#escapes);
    if (character === '"') return this.#add(this.#quoted('"', false).replaceAll('""', '"').toLowerCase());
    const tag = character === '$' ? this.#take(DOLLAR_TAG) : undefined;
    if (tag !== undefined) {
      const end = text.indexOf(tag, this.#at);
      this.#at = end < 0 ? text.length : end + tag.length;
      return this.#add("''");
    }
    this.#at++;
    if (character === ';') this.#end();
    else this.#add(character);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #word(word: string): void {
    const next = this.#text.charAt(this.#at);
    if (next === "'" && word === 'e') return this.#literal(true);
    if (word === 'u' && next === '&' && this.#text.charAt(this.#at + 1) === '"') {
      this.#at++;
      this.#quoted('"', false);
      return this.#add(ANY_NAME);
    }
    this.#add(word);
  }

  /** What could be the name of a setting in it is kept. */
  #literal(hasEscapes: boolean): void {
    let value = this.#quoted("'", hasEscapes);
    while (hasEscapes && this.#take(GOES_ON) !== undefined) {
      this.#at--;
      value += this.#quoted("'", true);
    }
    const isPlain = !value.includes('\\');
    this.#add(isPlain ? `'${value.toLowerCase().replaceAll(/[^\w.]/g, '?')}'` : `'${ANY_NAME}'`);
  }

  #quoted(quote: string, hasEscapes: boolean): string {
    const text = this.#text;
    const begin = ++this.#at;
    for (; this.#at < text.length; this.#at++) {
      const character = text.charAt(this.#at);
      if (character === '\\' && hasEscapes) this.#at++;
      else if (character !== quote) continue;
      else if (text.charAt(this.#at + 1) === quote) this.#at++;
      else return text.slice(begin, this.#at++);
    }
    return text.slice(begin);
  }

  #comment(): void {
    const text = this.#text;
    let depth = 0;
    while (this.#at < text.length) {
      if (text.startsWith('/*', this.#at)) depth++;
      else if (text.startsWith('*/', this.#at)) depth--;
      else {
        this.#at++;
        continue;
      }
      this.#at += 2;
      if (depth === 0) return;
    }
  }

  #add(word: string): void {
    const isJoined = word === '.' || this.#words === '' || this.#words.endsWith('.');
    this.#words += isJoined ? word : ` ${word}`;
  }

  #end(): void {
    if (this.#words !== '') this.#statements.push({ words: this.#words, raw: this.#text.slice(this.#begin, this.#at) });
    this.#words = '';
    this.#begin = this.#at;
  }
}
