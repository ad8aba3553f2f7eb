/**
 * One file of the user's project: its text, its syntax, and changes to it by position.
 *
 * Promise: what a change doesn't name stays as it is, byte for byte. New text is written with `\n`, and takes the line
 * ends of the file.
 */
import type ts from 'typescript';

/** The compiler of the user's project. */
export type Compiler = typeof ts;

/** New text in the place of what is between two positions. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export class CodeFile {
  readonly path: string;
  readonly compiler: Compiler;
  readonly original: string;
  #text: string;
  #syntax: ts.SourceFile | undefined;

  constructor(compiler: Compiler, path: string, text: string) {
    this.compiler = compiler;
    this.path = path;
    this.original = text;
    this.#text = text;
  }

  get text(): string {
    return this.#text;
  }

  get isChanged(): boolean {
    return this.#text !== this.original;
  }

  /** What the text means now: nodes from before a change have the positions of before. */
  get syntax(): ts.SourceFile {
    this.#syntax ??= this.path.endsWith('.json')
      ? this.compiler.parseJsonText(this.path, this.#text)
      : this.compiler.createSourceFile(this.path, this.#text, this.compiler.ScriptTarget.Latest, true);
    return this.#syntax;
  }

  /** Makes changes that don't overlap, all of them with positions of before. */
  apply(...edits: readonly Edit[]): void {
    const lineEnd = /\r?\n/.exec(this.#text)?.[0] ?? '\n';
    for (const { start, end, text } of [...edits].sort((a, b) => b.start - a.start || b.end - a.end)) {
      this.#text = this.#text.slice(0, start) + text.replace(/\r?\n/g, lineEnd) + this.#text.slice(end);
    }
    this.#syntax = undefined;
  }

  /** `src/app.module.ts:12`, as terminals and editors link it. */
  at(node: ts.Node): string {
    const { line } = this.syntax.getLineAndCharacterOfPosition(node.getStart(this.syntax));
    return `${this.path.replace(/^\//, '')}:${line + 1}`;
  }

  /** The whitespace that the line of a position begins with. */
  indentAt(position: number): string {
    const lineStart = this.#text.lastIndexOf('\n', position - 1) + 1;
    return /^[ \t]*/.exec(this.#text.slice(lineStart))?.[0] ?? '';
  }

  /** Every node below, and the one itself, from the outside in. */
  *nodes(from: ts.Node = this.syntax): Generator<ts.Node> {
    const waiting = [from];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      yield node;
      const children: ts.Node[] = [];
      this.compiler.forEachChild(node, (child) => void children.push(child));
      for (const child of children.reverse()) waiting.push(child);
    }
  }
}
