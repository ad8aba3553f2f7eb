/**
 * Expressions that mean the same in another file.
 */
import type ts from 'typescript';

import type { CodeFile } from '../text/code-file.js';
import type { CodeStyle } from '../text/code-style.js';

/** What every file of an application has under the same name. */
const GLOBALS = new Set([
  'process',
  'Number',
  'String',
  'Boolean',
  'parseInt',
  'parseFloat',
  'undefined',
  'Infinity',
  'JSON',
]);

/** Whether an expression uses nothing of the file that it is in: no import, no variable, no `this`, no function. */
export function isSelfContained(file: CodeFile, expression: ts.Node): boolean {
  const { compiler } = file;
  for (const node of file.nodes(expression)) {
    if (node.kind === compiler.SyntaxKind.ThisKeyword || compiler.isFunctionLike(node)) return false;
    if (compiler.isSpreadAssignment(node) || compiler.isShorthandPropertyAssignment(node)) return false;
    if (compiler.isAwaitExpression(node)) return false;
    if (!compiler.isIdentifier(node) || GLOBALS.has(node.text)) continue;
    const { parent } = node;
    const isName =
      (compiler.isPropertyAccessExpression(parent) && parent.name === node) ||
      (compiler.isPropertyAssignment(parent) && parent.name === node);
    if (!isName) return false;
  }
  return true;
}

/** The members of an object literal as code for another place: see {@link moved}. */
export function memberTexts(file: CodeFile, literal: ts.ObjectLiteralExpression): string[] {
  return literal.properties.map((member) => moved(file, member));
}

/** A piece of code for another place, without the indentation of this one. */
export function moved(file: CodeFile, node: ts.Node): string {
  const indent = file.indentAt(node.getStart(file.syntax));
  return node
    .getText(file.syntax)
    .split(/\r?\n/)
    .map((line, at) => (at > 0 && line.startsWith(indent) ? line.slice(indent.length) : line))
    .join('\n');
}

/** An object literal of members: on one line where it fits behind what stands before it. */
export function literalText(members: readonly string[], style: CodeStyle, room: number): string {
  const { braceSpace, indent, trailingComma } = style;
  if (members.length === 0) return '{}';
  const line = `{${braceSpace}${members.join(', ')}${braceSpace}}`;
  if (!line.includes('\n') && line.length <= room) return line;
  const lines = members.flatMap((member) =>
    member
      .split('\n')
      .map((text) => indent + text)
      .join('\n'),
  );
  return `{\n${lines.join(',\n')}${trailingComma}\n}`;
}
