/**
 * The registration of the pools: `PoolManagerModule.forRoot({ pools: { … } })` in the imports of a module.
 */
import type ts from 'typescript';

import type { CodeFile } from '../text/code-file.js';
import type { CodeStyle } from '../text/code-style.js';
import { addImport, importedFrom, localName, takenName } from '../text/imports.js';
import { addMember, indented } from '../text/members.js';
import { mentions, moduleMetadata, nameOf, type NestModule, property } from './nest-syntax.js';
import { isTest, type Project } from './project.js';

export const PACKAGE = 'nestjs-pool-manager';

/** A pool that is to be declared. */
export interface PoolEntry {
  readonly name: string;
  /** Its options, each as code: `type: 'redis'`. */
  readonly options: readonly string[];
  /** What a comment beside it says. */
  readonly comment?: string;
}

/** How the application declares its pools by now. */
export type Registration =
  | { readonly state: 'none' }
  /** `forRoot` with a literal: pools can be added to it, and are known by name and type. */
  | { readonly state: 'literal'; readonly file: CodeFile; readonly pools: ReadonlyMap<string, string | undefined> }
  /** Only a reader can tell what is declared there. */
  | { readonly state: 'other'; readonly file: CodeFile; readonly node: ts.Node };

export function findRegistration(project: Project): Registration {
  const files = [...project.sources()].filter((file) => !isTest(file));
  const calls = files.flatMap((file) => registrations(file).map((call) => ({ file, call })));
  const [first] = calls;
  if (first === undefined) return registrationElsewhere(files.concat(...project.librarySources()));
  const { file, call } = first;
  const pools = declaredPools(file, call);
  if (calls.length > 1 || pools === undefined) return { state: 'other', file, node: call };
  return { state: 'literal', file, pools: new Map(poolTypes(file, pools)) };
}

/** A module in a variable, in a function of the application's own, or in a library of the workspace. */
function registrationElsewhere(files: readonly CodeFile[]): Registration {
  for (const file of files.filter((candidate) => !isTest(candidate))) {
    const [call] = registrations(file);
    const local = localName(file, 'PoolManagerModule', PACKAGE);
    const node = call ?? (local === undefined ? undefined : mentions(file, local));
    if (node !== undefined && !isInType(file, node)) return { state: 'other', file, node };
  }
  return { state: 'none' };
}

function isInType({ compiler }: CodeFile, node: ts.Node): boolean {
  for (let current = node; !compiler.isSourceFile(current); current = current.parent) {
    if (compiler.isTypeNode(current)) return true;
  }
  return false;
}

/** Adds a pool to a registration that is a literal. */
export function addPool(file: CodeFile, entry: PoolEntry, style: CodeStyle): void {
  const [call] = registrations(file);
  const pools = call === undefined ? undefined : declaredPools(file, call);
  if (pools === undefined) return;
  const indent = file.indentAt(pools.getStart(file.syntax)).length + style.indent.length;
  addMember(file, pools, poolText(entry, style, indent), style);
}

/** Elements for the imports of a module. */
export interface ModuleImports {
  /** Whole pieces of code, as they are in `imports`, written as at the beginning of a line. */
  readonly elements: readonly string[];
  /** What they use of this package. */
  readonly names: readonly string[];
}

/** What keeps {@link addModuleImports} from adding to a module, as a sentence; undefined where nothing does. */
export function importsObstacle({ file, name }: NestModule, names: readonly string[]): string | undefined {
  const taken = takenName(file, names, PACKAGE);
  if (taken !== undefined) return `${taken} is something else in this file`;
  const [metadata] = moduleMetadata(file, name)?.arguments ?? [];
  if (metadata === undefined) return undefined;
  const { compiler } = file;
  const obstacle = `the imports of ${name} are no literal`;
  if (!compiler.isObjectLiteralExpression(metadata)) return obstacle;
  const own = property(file, metadata, 'imports');
  if (own !== undefined && !compiler.isArrayLiteralExpression(own.initializer)) return obstacle;
  // What may be imports too, and would win, or would not compile beside them.
  const others = metadata.properties.slice(own === undefined ? 0 : metadata.properties.indexOf(own) + 1);
  const isOpen = others.some(
    (member) =>
      compiler.isSpreadAssignment(member) ||
      (member.name !== undefined &&
        (compiler.isComputedPropertyName(member.name) || nameOf(file, member.name) === 'imports')),
  );
  return isOpen ? obstacle : undefined;
}

/** Adds to the imports of a module that has no {@link importsObstacle}. */
export function addModuleImports(
  { file, name }: NestModule,
  { elements, names }: ModuleImports,
  style: CodeStyle,
): void {
  const metadata = () => moduleMetadata(file, name)?.arguments[0];
  const call = moduleMetadata(file, name);
  if (call === undefined) return;
  if (call.arguments.length === 0) file.apply({ start: call.end - 1, end: call.end - 1, text: '{}' });
  const { compiler } = file;
  const literal = metadata();
  if (literal === undefined || !compiler.isObjectLiteralExpression(literal)) return;
  if (property(file, literal, 'imports') === undefined) addMember(file, literal, 'imports: []', style, 0);
  for (const element of elements) {
    const current = metadata();
    const list =
      current && compiler.isObjectLiteralExpression(current) && property(file, current, 'imports')?.initializer;
    if (!list || !compiler.isArrayLiteralExpression(list)) return;
    addMember(file, list, element, style);
  }
  addImport(file, names, PACKAGE, style);
}

export interface RegistrationText {
  readonly pools: readonly PoolEntry[];
  readonly tenantHeader?: string | undefined;
}

/** `PoolManagerModule.forRoot({ … })` as it is written into the imports of a module. */
export function registrationText({ pools, tenantHeader }: RegistrationText, style: CodeStyle): string {
  const { indent, quote, trailingComma, braceSpace } = style;
  // Inside `@Module({`, `imports: [`, `forRoot({` and `pools: {`.
  const depth = 4 * indent.length;
  const texts = pools.map((entry, at) => {
    const comma = at === pools.length - 1 ? trailingComma : ',';
    return `${poolText(entry, style, depth)}${comma}${entry.comment === undefined ? '' : ` // ${entry.comment}`}`;
  });
  const options = [`pools: {\n${indented(texts.join('\n'), indent)}\n}`];
  if (tenantHeader !== undefined) {
    const resolve = `resolve: fromHeader(${quote}${tenantHeader}${quote})`;
    const line = `tenancy: {${braceSpace}${resolve}${braceSpace}}`;
    const fits = 3 * indent.length + line.length + 1 <= style.width;
    options.push(fits ? line : `tenancy: {\n${indent}${resolve}${trailingComma}\n}`);
  }
  return `PoolManagerModule.forRoot({\n${indented(options.join(',\n'), indent)}${trailingComma}\n})`;
}

/** A declaration as code: on one line where it fits. */
export function poolText({ name, options }: PoolEntry, style: CodeStyle, indent: number): string {
  const { quote, braceSpace, trailingComma, width } = style;
  const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : `${quote}${name}${quote}`;
  const line = `${key}: {${braceSpace}${options.join(', ')}${braceSpace}}`;
  if (!line.includes('\n') && indent + line.length + 1 <= width) return line;
  const lines = options.map((option) => indented(option, style.indent)).join(',\n');
  return `${key}: {\n${lines}${trailingComma}\n}`;
}

/** The calls `PoolManagerModule.forRoot(…)`, `forRootAsync(…)` of a file. */
function registrations(file: CodeFile): ts.CallExpression[] {
  if (!file.text.includes('PoolManagerModule')) return [];
  const local = localName(file, 'PoolManagerModule', PACKAGE);
  const { compiler, syntax } = file;
  const isModule = (expression: ts.Expression): boolean =>
    compiler.isIdentifier(expression)
      ? expression.text === local
      : compiler.isPropertyAccessExpression(expression) &&
        expression.name.text === 'PoolManagerModule' &&
        importedFrom(file, expression.expression.getText(syntax)) === PACKAGE;
  const calls: ts.CallExpression[] = [];
  for (const node of file.nodes()) {
    if (!compiler.isCallExpression(node) || !compiler.isPropertyAccessExpression(node.expression)) continue;
    const { expression, name } = node.expression;
    if (isModule(expression) && /^forRoot(?:Async)?$/.test(name.text)) calls.push(node);
  }
  return calls;
}

function declaredPools(file: CodeFile, call: ts.CallExpression): ts.ObjectLiteralExpression | undefined {
  const { compiler } = file;
  const [options] = call.arguments;
  if (options === undefined || !compiler.isObjectLiteralExpression(options)) return undefined;
  const method = compiler.isPropertyAccessExpression(call.expression) ? call.expression.name.text : '';
  const isLocal = property(file, options, 'isGlobal')?.initializer.kind === compiler.SyntaxKind.FalseKeyword;
  if (method !== 'forRoot' || isLocal || property(file, options, 'name') !== undefined) return undefined;
  const pools = property(file, options, 'pools')?.initializer;
  return pools !== undefined && compiler.isObjectLiteralExpression(pools) ? pools : undefined;
}

function* poolTypes(
  file: CodeFile,
  pools: ts.ObjectLiteralExpression,
): Generator<readonly [name: string, type: string | undefined]> {
  const { compiler } = file;
  for (const member of pools.properties) {
    if (member.name === undefined) continue;
    const options = compiler.isPropertyAssignment(member) ? member.initializer : undefined;
    const type =
      options && compiler.isObjectLiteralExpression(options) ? property(file, options, 'type')?.initializer : undefined;
    yield [nameOf(file, member.name), type && compiler.isStringLiteral(type) ? type.text : undefined];
  }
}
