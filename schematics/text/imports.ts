/**
 * Import declarations of a file.
 */
import type ts from 'typescript';

import type { CodeFile } from './code-file.js';
import type { CodeStyle } from './code-style.js';

/** Imports names from a package, beside what the file imports from it already. */
export function addImport(file: CodeFile, names: readonly string[], from: string, style: CodeStyle): void {
  importAsValues(file, names, from, style);
  const { compiler, syntax } = file;
  const declarations = syntax.statements.filter((statement) => compiler.isImportDeclaration(statement));
  const own = declarations.filter((declaration) => specifierOf(file, declaration) === from);
  const missing = names
    .filter((name) => !own.some((declaration) => importedNames(file, declaration).has(name)))
    .sort((a, b) => a.toLowerCase().localeCompare(b.toLowerCase(), 'en'));
  if (missing.length === 0) return;
  const open = own.find((declaration) => namedBindings(file, declaration) !== undefined);
  if (open !== undefined) {
    const elements = namedBindings(file, open)?.elements ?? [];
    const last = elements.at(-1);
    if (last !== undefined && hasComment(open.getText(syntax))) {
      file.apply({ start: last.end, end: last.end, text: `, ${missing.join(', ')}` });
      return;
    }
    const kept = elements.map((element) => element.getText(syntax));
    const text = declarationOf([...kept, ...missing], from, style);
    file.apply({ start: open.getStart(syntax), end: open.end, text });
    return;
  }
  const text = declarationOf(missing, from, style);
  const last = declarations.filter((declaration) => !specifierOf(file, declaration).startsWith('.')).at(-1);
  if (last !== undefined) file.apply({ start: last.end, end: last.end, text: `\n${text}` });
  else {
    const start = declarations[0]?.getStart(syntax) ?? syntax.statements[0]?.getStart(syntax) ?? 0;
    file.apply({ start, end: start, text: `${text}\n${declarations.length > 0 ? '' : '\n'}` });
  }
}

interface NamedImports {
  readonly declaration: ts.ImportDeclaration;
  readonly clause: ts.ImportClause;
  readonly bindings: ts.NamedImports;
}

/** The imports of names of a package, the last one first: changing it moves none of the others. */
function namedImportsOf(file: CodeFile, from: string): NamedImports[] {
  const { compiler, syntax } = file;
  return syntax.statements
    .filter((statement) => compiler.isImportDeclaration(statement))
    .flatMap((declaration) => {
      const clause = declaration.importClause;
      const bindings = clause?.namedBindings;
      if (specifierOf(file, declaration) !== from || !bindings || !compiler.isNamedImports(bindings)) return [];
      return [{ declaration, clause, bindings }];
    })
    .reverse();
}

/** What a file imports of a package as types only becomes an import of values: a name can't be imported as both. */
function importAsValues(file: CodeFile, names: readonly string[], from: string, style: CodeStyle): void {
  const { syntax } = file;
  for (const { declaration, bindings } of namedImportsOf(file, from)) {
    const isWanted = (element: ts.ImportSpecifier): boolean =>
      element.propertyName === undefined && names.includes(element.name.text);
    if (!bindings.elements.some(isWanted)) continue;
    if (isTypeOnly(file, declaration)) {
      const elements = bindings.elements.map((element) =>
        isWanted(element) ? element.name.text : `type ${element.getText(syntax)}`,
      );
      const text = declarationOf(elements, from, style);
      file.apply({ start: declaration.getStart(syntax), end: declaration.end, text });
    } else {
      const types = bindings.elements.filter((element) => element.isTypeOnly && isWanted(element));
      file.apply(
        ...types.map((element) => ({ start: element.getStart(syntax), end: element.end, text: element.name.text })),
      );
    }
  }
}

/** The first of some names of a package that means something else in a file: importing it would not compile. */
export function takenName(file: CodeFile, names: readonly string[], from: string): string | undefined {
  const { compiler, syntax } = file;
  const taken = new Set<string>();
  for (const statement of syntax.statements) {
    if (compiler.isImportDeclaration(statement)) {
      const { name, namedBindings } = statement.importClause ?? {};
      if (name !== undefined) taken.add(name.text);
      if (namedBindings !== undefined && compiler.isNamespaceImport(namedBindings)) taken.add(namedBindings.name.text);
      if (namedBindings === undefined || !compiler.isNamedImports(namedBindings)) continue;
      for (const element of namedBindings.elements) {
        const isSame = specifierOf(file, statement) === from && element.propertyName === undefined;
        if (!isSame) taken.add(element.name.text);
      }
    } else if (compiler.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) {
        for (const node of file.nodes(name)) if (compiler.isIdentifier(node)) taken.add(node.text);
      }
    } else if ('name' in statement) {
      const { name } = statement as ts.DeclarationStatement;
      if (name !== undefined && compiler.isIdentifier(name)) taken.add(name.text);
    }
  }
  return names.find((name) => taken.has(name));
}

/** Removes names from the imports of a package, and the declaration with its last one. */
export function removeImport(file: CodeFile, names: readonly string[], from: string, style: CodeStyle): void {
  const { syntax } = file;
  for (const { declaration, clause, bindings } of namedImportsOf(file, from)) {
    const kept = bindings.elements.filter((element) => !names.includes((element.propertyName ?? element.name).text));
    if (kept.length === bindings.elements.length) continue;
    const defaultName = clause.name?.text;
    if (kept.length > 0 || defaultName !== undefined) {
      const typeOnly = isTypeOnly(file, declaration);
      const elements = kept.map((element) => element.getText(syntax));
      const text = declarationOf(elements, from, style, { typeOnly, defaultName });
      file.apply({ start: declaration.getStart(syntax), end: declaration.end, text });
    } else {
      const rest = /^[ \t]*\r?\n/.exec(file.text.slice(declaration.end))?.[0].length ?? 0;
      file.apply({ start: declaration.getStart(syntax), end: declaration.end + rest, text: '' });
    }
  }
}

/** The name that a file has for an export of a package; undefined where it doesn't import it by name. */
export function localName(file: CodeFile, exported: string, from: string): string | undefined {
  for (const declaration of file.syntax.statements) {
    if (!file.compiler.isImportDeclaration(declaration) || specifierOf(file, declaration) !== from) continue;
    const bindings = declaration.importClause?.namedBindings;
    if (!bindings || !file.compiler.isNamedImports(bindings)) continue;
    const element = bindings.elements.find(({ propertyName, name }) => (propertyName ?? name).text === exported);
    if (element !== undefined) return element.name.text;
  }
  return undefined;
}

/** Where a name of the file comes from: the specifier of its import. */
export function importedFrom(file: CodeFile, local: string): string | undefined {
  for (const declaration of file.syntax.statements) {
    if (!file.compiler.isImportDeclaration(declaration)) continue;
    const { name, namedBindings } = declaration.importClause ?? {};
    const names =
      namedBindings === undefined
        ? []
        : file.compiler.isNamedImports(namedBindings)
          ? namedBindings.elements.map((element) => element.name.text)
          : [namedBindings.name.text];
    if (name?.text === local || names.includes(local)) return specifierOf(file, declaration);
  }
  return undefined;
}

export function specifierOf(file: CodeFile, { moduleSpecifier }: ts.ImportDeclaration): string {
  return file.compiler.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : '';
}

/** Those that more values can be added to. */
function namedBindings({ compiler, syntax }: CodeFile, declaration: ts.ImportDeclaration): ts.NamedImports | undefined {
  const { importClause } = declaration;
  if (importClause?.namedBindings === undefined || importClause.name !== undefined) return undefined;
  if (isTypeOnly({ syntax }, declaration)) return undefined;
  return compiler.isNamedImports(importClause.namedBindings) ? importClause.namedBindings : undefined;
}

function isTypeOnly({ syntax }: Pick<CodeFile, 'syntax'>, declaration: ts.ImportDeclaration): boolean {
  return /^import\s+type\b(?!\s+from\b)/.test(declaration.getText(syntax));
}

function hasComment(text: string): boolean {
  return /\/[/*]/.test(text);
}

function importedNames(file: CodeFile, declaration: ts.ImportDeclaration): Set<string> {
  return new Set(namedBindings(file, declaration)?.elements.map((element) => element.getText(file.syntax)));
}

interface DeclarationShape {
  readonly typeOnly?: boolean;
  readonly defaultName?: string | undefined;
}

function declarationOf(
  names: readonly string[],
  from: string,
  style: CodeStyle,
  { typeOnly = false, defaultName }: DeclarationShape = {},
): string {
  const { quote, semicolon, braceSpace, indent, trailingComma, width } = style;
  const head = `import ${typeOnly ? 'type ' : ''}${defaultName ?? ''}`;
  const tail = `from ${quote}${from}${quote}${semicolon}`;
  if (names.length === 0) return `${head} ${tail}`;
  const start = defaultName === undefined ? head : `${head}, `;
  const line = `${start}{${braceSpace}${names.join(', ')}${braceSpace}} ${tail}`;
  if (line.length <= width) return line;
  return `${start}{\n${names.map((name) => indent + name).join(',\n')}${trailingComma}\n} ${tail}`;
}
