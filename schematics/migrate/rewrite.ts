/**
 * Changes to several files that belong together: all of them are made, or none.
 */
import type ts from 'typescript';

import { isInImport } from '../project/nest-syntax.js';
import type { Project } from '../project/project.js';
import { PACKAGE } from '../project/registration.js';
import type { CodeFile, Edit } from '../text/code-file.js';
import { addImport, localName, removeImport, takenName } from '../text/imports.js';
import { Unsure } from './unsure.js';

interface FileChange {
  readonly edits: Edit[];
  /** Names of this package that the new text uses. */
  readonly names: Set<string>;
}

export class Rewrite {
  readonly #changes = new Map<CodeFile, FileChange>();

  edit(file: CodeFile, edit: Edit, ...names: readonly string[]): void {
    const change = this.#changes.get(file) ?? { edits: [], names: new Set() };
    this.#changes.set(file, change);
    change.edits.push(edit);
    for (const name of names) change.names.add(name);
  }

  replace(file: CodeFile, node: ts.Node, text: string, ...names: readonly string[]): void {
    this.edit(file, { start: node.getStart(file.syntax), end: node.end, text }, ...names);
  }

  /** @throws Unsure where a file has something else under a name that it would import from this package. */
  refuseTakenNames(): void {
    for (const [file, { names }] of this.#changes) {
      const taken = takenName(file, [...names], PACKAGE);
      if (taken === undefined) continue;
      throw new Unsure(`${taken} is something else in ${file.path.slice(1)}; rename it, then run this again`);
    }
  }

  /** @param unused imports that go where nothing uses them any more: a name, and the package or file it is from. */
  apply(project: Project, unused: readonly (readonly [name: string, from: string | undefined])[]): void {
    for (const [file, { edits, names }] of this.#changes) {
      const style = project.style(file);
      file.apply(...edits);
      for (const [name, from] of unused) {
        for (const specifier of from === undefined ? specifiersOf(file, name) : [from]) {
          const local = localName(file, name, specifier);
          if (local !== undefined && !isUsed(file, local)) removeImport(file, [name], specifier, style);
        }
      }
      addImport(file, [...names], PACKAGE, style);
      breakLongConstructors(file, style);
    }
  }
}

function specifiersOf(file: CodeFile, name: string): string[] {
  const { compiler } = file;
  return file.syntax.statements
    .filter((statement) => compiler.isImportDeclaration(statement))
    .map(({ moduleSpecifier }) => (compiler.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : ''))
    .filter((specifier) => localName(file, name, specifier) !== undefined);
}

function isUsed(file: CodeFile, name: string): boolean {
  for (const node of file.nodes()) {
    if (file.compiler.isIdentifier(node) && node.text === name && !isInImport(file, node)) return true;
  }
  return false;
}

/** The decorators make parameters longer than a line may be: one a line then, as formatters write them. */
function breakLongConstructors(file: CodeFile, { width, indent, trailingComma }: ReturnType<Project['style']>): void {
  const edits: Edit[] = [];
  for (const node of file.nodes()) {
    if (!file.compiler.isConstructorDeclaration(node)) continue;
    const [first] = node.parameters;
    const last = node.parameters.at(-1);
    if (first === undefined || last === undefined) continue;
    const [start, end] = [node.getStart(file.syntax), node.body?.getStart(file.syntax) ?? node.end];
    const text = file.text.slice(start, end);
    const outer = file.indentAt(start);
    const isEmpty = /^\{\s*\}$/.test(node.body?.getText(file.syntax) ?? '');
    if (!text.includes('@InjectPool(') || text.includes('\n')) continue;
    if (outer.length + text.length + (isEmpty ? 2 : 1) <= width) continue;
    const lines = node.parameters.map((parameter) => outer + indent + parameter.getText(file.syntax));
    const inner = `\n${lines.join(',\n')}${trailingComma}\n${outer}`;
    edits.push({ start: first.getStart(file.syntax), end: last.end, text: inner });
  }
  file.apply(...edits);
}
