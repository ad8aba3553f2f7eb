/**
 * What Nest's applications are made of, in their syntax: module classes, what they import, and where they start.
 */
import type ts from 'typescript';

import type { CodeFile } from '../text/code-file.js';
import { importedFrom, localName, specifierOf } from '../text/imports.js';
import type { Project } from './project.js';

/** A class with `@Module({ … })`. */
export interface NestModule {
  readonly file: CodeFile;
  readonly name: string;
}

/** The call that makes an application in a file, as `NestFactory.create(AppModule)`. */
export function factoryCall(file: CodeFile): ts.CallExpression | undefined {
  const { compiler, syntax } = file;
  const nests = localName(file, 'NestFactory', '@nestjs/core');
  for (const node of file.nodes()) {
    if (!compiler.isCallExpression(node) || !compiler.isPropertyAccessExpression(node.expression)) continue;
    const { expression, name } = node.expression;
    const factory = expression.getText(syntax);
    // Without Nest's own, one that is like it: loggers and the like have factories too.
    const isFactory = nests === undefined ? factory.endsWith('Factory') : factory === nests;
    if (isFactory && name.text.startsWith('create') && node.arguments.length > 0) return node;
  }
  return undefined;
}

/**
 * The root module of the application: the one that its main file creates an application of, else the AppModule of
 * app.module.ts.
 */
export function rootModule(project: Project): NestModule | undefined {
  const main = project.file(project.mainPath);
  const root = main === undefined ? undefined : factoryCall(main)?.arguments[0];
  if (main !== undefined && root !== undefined) {
    // `AppModule`, or `AppModule.register(…)`
    const [name] = /^\w+/.exec(root.getText(main.syntax)) ?? [];
    if (name !== undefined) {
      const specifier = importedFrom(main, name);
      const file = specifier === undefined ? main : project.resolve(main, specifier);
      const exported = specifier === undefined ? name : (exportedName(main, name) ?? name);
      if (file !== undefined && moduleMetadata(file, exported) !== undefined) return { file, name: exported };
      // Through a barrel file or an alias of tsconfig.json.
      for (const source of project.sources()) {
        if (moduleMetadata(source, exported) !== undefined) return { file: source, name: exported };
      }
    }
  }
  const file = project.file(`${project.sourceRoot}/app.module.ts`);
  return file !== undefined && moduleMetadata(file, 'AppModule') !== undefined
    ? { file, name: 'AppModule' }
    : undefined;
}

function exportedName(file: CodeFile, local: string): string | undefined {
  const { compiler } = file;
  for (const statement of file.syntax.statements) {
    if (!compiler.isImportDeclaration(statement)) continue;
    const bindings = statement.importClause?.namedBindings;
    if (!bindings || !compiler.isNamedImports(bindings)) continue;
    const element = bindings.elements.find(({ name }) => name.text === local);
    if (element !== undefined) return (element.propertyName ?? element.name).text;
  }
  return undefined;
}

/** The classes of a file. */
export function classes(file: CodeFile): ts.ClassDeclaration[] {
  const found: ts.ClassDeclaration[] = [];
  for (const node of file.nodes()) if (file.compiler.isClassDeclaration(node)) found.push(node);
  return found;
}

/** The call behind a decorator of that name from Nest, as `Module({ … })`. */
export function decorator(file: CodeFile, node: ts.HasDecorators, name: string): ts.CallExpression | undefined {
  const { compiler, syntax } = file;
  for (const { expression } of compiler.getDecorators(node) ?? []) {
    if (compiler.isCallExpression(expression) && expression.expression.getText(syntax) === name) return expression;
  }
  return undefined;
}

/** The call of `@Module(…)` of a class of that name. */
export function moduleMetadata(file: CodeFile, name: string): ts.CallExpression | undefined {
  const local = localName(file, 'Module', '@nestjs/common') ?? 'Module';
  const found = classes(file).find((candidate) => candidate.name?.text === name);
  return found === undefined ? undefined : decorator(file, found, local);
}

/** A property of an object literal, by its name, and only where it is written `name: value`. */
export function property(
  file: CodeFile,
  literal: ts.ObjectLiteralExpression,
  name: string,
): ts.PropertyAssignment | undefined {
  for (const member of literal.properties) {
    if (file.compiler.isPropertyAssignment(member) && nameOf(file, member.name) === name) return member;
  }
  return undefined;
}

/** A name of a property, without quotes. */
export function nameOf(file: CodeFile, name: ts.PropertyName): string {
  const { compiler, syntax } = file;
  return compiler.isStringLiteral(name) || compiler.isIdentifier(name) ? name.text : name.getText(syntax);
}

/** Whether any import of a file is of that package, and any code of it uses that name. */
export function mentions(file: CodeFile, name: string): ts.Identifier | undefined {
  for (const node of file.nodes()) {
    if (file.compiler.isIdentifier(node) && node.text === name && !isInImport(file, node)) return node;
  }
  return undefined;
}

export function isInImport({ compiler }: CodeFile, node: ts.Node): boolean {
  for (let current: ts.Node | undefined = node; current !== undefined; current = current.parent) {
    if (compiler.isImportDeclaration(current)) return true;
  }
  return false;
}

export function imports(file: CodeFile, from: string): boolean {
  return file.syntax.statements.some(
    (statement) => file.compiler.isImportDeclaration(statement) && specifierOf(file, statement) === from,
  );
}
