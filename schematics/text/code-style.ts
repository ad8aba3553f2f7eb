/**
 * How the user's code is written, so that new lines look like the old ones and their formatter leaves them alone.
 *
 * What the file shows wins; the rest comes from the configuration of Prettier, then from Prettier's defaults.
 */
import type ts from 'typescript';

import type { CodeFile } from './code-file.js';

export interface CodeStyle {
  readonly quote: "'" | '"';
  /** What ends a statement: `;` or nothing. */
  readonly semicolon: ';' | '';
  /** One step of indentation. */
  readonly indent: string;
  /** What follows the last of several lines: `,` or nothing. */
  readonly trailingComma: ',' | '';
  /** Whether there are spaces inside braces. */
  readonly braceSpace: ' ' | '';
  /** Characters of a line; longer ones are broken. */
  readonly width: number;
}

/** @param prettier the text of Prettier's configuration, in any of its formats; '' for none. */
export function styleOf(file: CodeFile, prettier: string): CodeStyle {
  const configured = (option: string): string | undefined =>
    new RegExp(`["']?\\b${option}["']?\\s*:\\s*["']?(\\w+)`).exec(prettier)?.[1];
  const { compiler, syntax } = file;
  const imports = syntax.statements.filter((statement) => compiler.isImportDeclaration(statement));
  const specifier = imports[0]?.moduleSpecifier.getText(syntax);
  const single = specifier === undefined ? configured('singleQuote') === 'true' : specifier.startsWith("'");
  const [statement] = imports.length > 0 ? imports : syntax.statements;
  const semi =
    statement === undefined ? configured('semi') !== 'false' : statement.getText(syntax).trimEnd().endsWith(';');
  return {
    quote: single ? "'" : '"',
    semicolon: semi ? ';' : '',
    indent: indentOf(file) ?? configuredIndent(configured('useTabs'), configured('tabWidth')),
    trailingComma: trailingCommaOf(file) ?? (configured('trailingComma') === 'none' ? '' : ','),
    braceSpace: configured('bracketSpacing') === 'false' ? '' : ' ',
    width: Number(configured('printWidth') ?? 80),
  };
}

function indentOf(file: CodeFile): string | undefined {
  return /^(\t| {2,})(?=[^\s*])/m.exec(file.text)?.[1];
}

function configuredIndent(useTabs: string | undefined, tabWidth = '2'): string {
  return useTabs === 'true' ? '\t' : ' '.repeat(Number(tabWidth));
}

/** As after the last line of the first list or object that has several. */
function trailingCommaOf(file: CodeFile): ',' | '' | undefined {
  for (const node of file.nodes()) {
    const members = membersOf(file, node);
    if (members === undefined || members.length === 0 || !node.getText(file.syntax).includes('\n')) continue;
    // Not `[a, {` and its like, whose last line ends with what is inside.
    if (/\n\s*[\]}]$/.test(node.getText(file.syntax))) return members.hasTrailingComma ? ',' : '';
  }
  return undefined;
}

function membersOf({ compiler }: CodeFile, node: ts.Node): ts.NodeArray<ts.Node> | undefined {
  if (compiler.isObjectLiteralExpression(node)) return node.properties;
  if (compiler.isArrayLiteralExpression(node)) return node.elements;
  return undefined;
}
