/**
 * Where a token of injection is used: a text, or the name of a constant.
 */
import type ts from 'typescript';

import { isInImport } from '../project/nest-syntax.js';
import type { Project } from '../project/project.js';
import type { CodeFile } from '../text/code-file.js';
import { importedFrom } from '../text/imports.js';
import { Unsure } from './unsure.js';

/** Every use of a token in a file, without its declaration and imports. */
export function* usesOf(file: CodeFile, token: ts.StringLiteral | ts.Identifier): Generator<ts.Expression> {
  const { compiler } = file;
  const isText = compiler.isStringLiteral(token);
  // Another thing of the same name, elsewhere.
  if (!isText && importedFrom(file, token.text) === undefined && constant(file, token.text) === undefined) return;
  for (const node of file.nodes()) {
    if (isText) {
      if (compiler.isStringLiteral(node) && node.text === token.text) yield node;
    } else if (compiler.isIdentifier(node) && node.text === token.text && !isInImport(file, node)) {
      const isDeclaration = compiler.isVariableDeclaration(node.parent) && node.parent.name === node;
      if (!isDeclaration) yield node;
    }
  }
}

/** @throws Unsure where a file has a token under another name: `PG as DB`, `tokens.PG`. */
export function checkOtherNames(file: CodeFile, token: string): void {
  if (!file.text.includes(token)) return;
  const { compiler, syntax } = file;
  for (const node of file.nodes()) {
    const isRenamed =
      (compiler.isImportSpecifier(node) || compiler.isExportSpecifier(node)) && node.propertyName?.text === token;
    const isMember =
      compiler.isPropertyAccessExpression(node) &&
      node.name.text === token &&
      importedFrom(file, node.expression.getText(syntax)) !== undefined;
    if (isRenamed || isMember) throw new Unsure(`its token has another name at ${file.at(node)}`);
  }
}

/** `const NAME = …` in a file. */
function constant(file: CodeFile, name: string): ts.VariableDeclaration | undefined {
  for (const node of file.nodes()) {
    if (file.compiler.isVariableDeclaration(node) && node.name.getText(file.syntax) === name) return node;
  }
  return undefined;
}

/** @throws Unsure where the text behind a constant is written out somewhere too. */
export function checkText(project: Project, name: string): void {
  const texts = new Set<string>();
  const literals: { file: CodeFile; node: ts.StringLiteral }[] = [];
  for (const file of project.sources()) {
    const value = constant(file, name)?.initializer;
    if (value !== undefined && file.compiler.isStringLiteral(value)) texts.add(value.text);
    for (const node of file.nodes()) {
      if (file.compiler.isStringLiteral(node) && node !== value) literals.push({ file, node });
    }
  }
  const found = literals.find(({ node }) => texts.has(node.text));
  if (found !== undefined) throw new Unsure(`its token is written out as a text, at ${found.file.at(found.node)}`);
}
