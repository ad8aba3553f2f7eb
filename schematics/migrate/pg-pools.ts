/**
 * Pools of pg, `new Pool(…)`, that become pools of this package:
 *
 * - a provider `{ provide: TOKEN, useFactory: () => new Pool({ … }) }` or `useValue`, and every injection of its token;
 * - a field `private readonly pool = new Pool({ … })` of a class that Nest makes.
 *
 * Only where the options are a literal that means the same in another file. `fromPgPoolConfig` keeps what they mean.
 */
import type ts from 'typescript';

import { classes, nameOf, property } from '../project/nest-syntax.js';
import { isTest, type Project } from '../project/project.js';
import type { PoolEntry } from '../project/registration.js';
import type { CodeFile } from '../text/code-file.js';
import { importedFrom, localName } from '../text/imports.js';
import { withoutMember } from '../text/members.js';
import { isSelfContained, literalText, memberTexts, moved } from './expressions.js';
import type { Migration, Note, SureMigration, Target } from './migration.js';
import { nameFor } from './pool-names.js';
import { Rewrite } from './rewrite.js';
import { checkOtherNames, checkText, usesOf } from './tokens.js';
import { Unsure } from './unsure.js';

/** One `new Pool(…)`. */
interface Candidate {
  readonly file: CodeFile;
  readonly creation: ts.NewExpression;
}

const NEST_CLASSES = new Set(['Injectable', 'Controller', 'Resolver', 'WebSocketGateway', 'Catch']);

export function* pgPools(project: Project, target: Target): Generator<Migration> {
  for (const file of project.sources()) {
    for (const creation of creations(file)) {
      const candidate = { file, creation };
      const place = file.at(creation);
      if (isTest(file)) continue;
      try {
        const found = migration(project, candidate, target);
        found.rewrite.refuseTakenNames();
        yield { place, ...found };
      } catch (error) {
        if (!(error instanceof Unsure)) throw error;
        yield { place: error.at ?? place, unsure: `new Pool(…) of pg: ${error.message}` };
      }
    }
  }
}

function* creations(file: CodeFile): Generator<ts.NewExpression> {
  const { compiler, syntax } = file;
  for (const node of file.nodes()) {
    if (!compiler.isNewExpression(node)) continue;
    const callee = node.expression;
    if (compiler.isIdentifier(callee) && callee.text === localName(file, 'Pool', 'pg')) yield node;
    if (!compiler.isPropertyAccessExpression(callee) || callee.name.text !== 'Pool') continue;
    const owner = callee.expression.getText(syntax);
    if (importedFrom(file, owner) === 'pg') yield node;
  }
}

type Found = Omit<SureMigration, 'place'>;

/** @throws Unsure */
function migration(project: Project, candidate: Candidate, target: Target): Found {
  const { file, creation } = candidate;
  const { compiler } = file;
  const [config, ...more] = creation.arguments ?? [];
  if (more.length > 0 || (config !== undefined && !compiler.isObjectLiteralExpression(config))) {
    throw new Unsure(
      'its options are not a literal; declare a pool in PoolManagerModule, and inject it with @InjectPool',
    );
  }
  if (config !== undefined && !isSelfContained(file, config)) {
    throw new Unsure(
      'its options use values of this file; declare a pool in PoolManagerModule (forRootAsync where they come from ' +
        'providers), with fromPgPoolConfig({ … }), and inject it with @InjectPool',
    );
  }
  const provider = providerOf(file, creation);
  if (provider !== undefined) return ofProvider(project, file, provider, config, target);
  const field = fieldOf(file, creation);
  if (field !== undefined) return ofField(project, file, field, config, target);
  throw new Unsure(
    'it is no provider of a module and no field of a provider; declare a pool in PoolManagerModule, and inject it with ' +
      '@InjectPool, or take it from ConnectionPoolManager.getPool',
  );
}

function entryOf(
  file: CodeFile,
  name: string,
  config: ts.ObjectLiteralExpression | undefined,
  target: Target,
): PoolEntry {
  const { style } = target;
  const room = style.width - 5 * style.indent.length - '...fromPgPoolConfig(),'.length;
  // Comments stand between the members.
  const hasComment = config !== undefined && /\/[/*]/.test(withoutTexts(file, config));
  const literal =
    config === undefined ? '' : hasComment ? moved(file, config) : literalText(memberTexts(file, config), style, room);
  return {
    name,
    options: [`type: ${style.quote}database${style.quote}`, `...fromPgPoolConfig(${literal})`],
  };
}

/** A piece of code with nothing in its texts, which may have in them what looks like code. */
function withoutTexts(file: CodeFile, node: ts.Node): string {
  const { compiler, syntax } = file;
  let text = node.getText(syntax);
  for (const part of file.nodes(node)) {
    if (compiler.isStringLiteralLike(part) || compiler.isTemplateExpression(part))
      text = text.replace(part.getText(syntax), '');
  }
  return text;
}

// ── a provider ──────────────────────────────────────────────────────────────────────────────────────────────────────

interface Provider {
  readonly literal: ts.ObjectLiteralExpression;
  readonly list: ts.ArrayLiteralExpression;
  readonly token: ts.Expression;
}

/** The provider that makes the pool and nothing else. */
function providerOf(file: CodeFile, creation: ts.NewExpression): Provider | undefined {
  const { compiler } = file;
  const making = valueOf(file, creation);
  const member = making.parent;
  if (!compiler.isPropertyAssignment(member) || !['useFactory', 'useValue'].includes(nameOf(file, member.name))) {
    return undefined;
  }
  const literal = member.parent;
  const list = literal.parent;
  const token = property(file, literal, 'provide')?.initializer;
  if (token === undefined) return undefined;
  const inject = property(file, literal, 'inject')?.initializer;
  const isEmpty = inject !== undefined && compiler.isArrayLiteralExpression(inject) && inject.elements.length === 0;
  if (literal.properties.length > (isEmpty ? 3 : 2)) {
    throw new Unsure('its factory has dependencies or a scope; declare the pool with PoolManagerModule.forRootAsync');
  }
  if (!compiler.isArrayLiteralExpression(list)) {
    throw new Unsure(
      'the provider is no element of the providers of a module; replace it by a pool of PoolManagerModule',
    );
  }
  return { literal, list, token };
}

/** The creation, or the function without parameters that does nothing but return it. */
function valueOf({ compiler }: CodeFile, creation: ts.NewExpression): ts.Expression {
  const { parent } = creation;
  const isOnlyStatement =
    compiler.isReturnStatement(parent) && compiler.isBlock(parent.parent) && parent.parent.statements.length === 1;
  const maker = isOnlyStatement ? parent.parent.parent : parent;
  const isFactory = compiler.isArrowFunction(maker) || compiler.isFunctionExpression(maker);
  return isFactory && maker.parameters.length === 0 ? maker : creation;
}

function ofProvider(
  project: Project,
  file: CodeFile,
  { literal, list, token }: Provider,
  config: ts.ObjectLiteralExpression | undefined,
  target: Target,
): Found {
  const { compiler } = file;
  const isText = compiler.isStringLiteral(token);
  if (!isText && !compiler.isIdentifier(token)) throw new Unsure('its token is no text and no constant');
  if (isClassToken(file, token)) {
    throw new Unsure(
      'it is provided under a class; declare a pool in PoolManagerModule, and inject it with @InjectPool',
    );
  }
  if (!isText) {
    checkText(project, token.text);
    for (const source of project.sources()) checkOtherNames(source, token.text);
  }
  const name = target.name(nameFor(token.text, 'database', target.taken));
  const rewrite = new Rewrite();
  const notes: Note[] = [];
  rewrite.edit(file, withoutMember(file, list, literal, project.style(file)));
  for (const source of project.sources()) {
    for (const use of usesOf(source, token)) {
      if (source === file && use.pos >= literal.pos && use.end <= literal.end) continue;
      replaceUse(source, use, name, rewrite, notes, project);
    }
  }
  const pg = [['Pool', 'pg'], ['Inject', '@nestjs/common'], ...(isText ? [] : [[token.text, undefined]])] as const;
  return {
    rewrite,
    entry: target.isDeclared ? undefined : entryOf(file, name, config, target),
    names: ['fromPgPoolConfig'],
    unused: pg.map(([imported, from]) => [imported ?? '', from] as const),
    done: `the provider ${token.getText(file.syntax)} is the pool ${name}`,
    notes,
  };
}

function isClassToken(file: CodeFile, token: ts.Expression): boolean {
  const name = token.getText(file.syntax);
  return importedFrom(file, name) === 'pg' || classes(file).some((found) => found.name?.text === name);
}

/** A token where it stands: in `@Inject()`, in `exports`, or where `getPoolToken` says the same. */
function replaceUse(
  file: CodeFile,
  use: ts.Expression,
  name: string,
  rewrite: Rewrite,
  notes: Note[],
  project: Project,
): void {
  const { compiler, syntax } = file;
  const { parent } = use;
  const style = project.style(file);
  const { quote } = style;
  const token = `getPoolToken(${quote}${name}${quote})`;
  if (compiler.isCallExpression(parent)) {
    const called = parent.expression.getText(syntax);
    if (called === 'Inject' && compiler.isDecorator(parent.parent)) {
      rewrite.replace(file, parent, `InjectPool(${quote}${name}${quote})`, 'InjectPool');
      const injected = parent.parent.parent;
      retype(file, injected, rewrite);
      endsOf(file, injected, notes);
      return;
    }
    if (/\.(?:get|resolve|overrideProvider)$/.test(called)) return rewrite.replace(file, use, token, 'getPoolToken');
  }
  if (compiler.isArrayLiteralExpression(parent) && compiler.isPropertyAssignment(parent.parent)) {
    const list = nameOf(file, parent.parent.name);
    if (list === 'exports') return rewrite.edit(file, withoutMember(file, parent, use, style));
    if (list === 'inject') return rewrite.replace(file, use, token, 'getPoolToken');
  }
  if (compiler.isPropertyAssignment(parent) && nameOf(file, parent.name) === 'provide') {
    if (!isTest(file)) throw new Unsure(`its token is provided a second time, at ${file.at(use)}`);
    return rewrite.replace(file, use, token, 'getPoolToken');
  }
  throw new Unsure(`its token is used in a way that was not understood, at ${file.at(use)}`);
}

/** `Pool` of pg as the type of what is injected. */
function retype(file: CodeFile, injected: ts.Node, rewrite: Rewrite): void {
  const { compiler, syntax } = file;
  if (!compiler.isParameter(injected) && !compiler.isPropertyDeclaration(injected)) return;
  const { type } = injected;
  if (type !== undefined && isPgPool(file, type.getText(syntax)))
    rewrite.replace(file, type, 'PostgresPool', 'PostgresPool');
}

function isPgPool(file: CodeFile, type: string): boolean {
  const [owner, name] = type.split('.');
  if (name === undefined) return owner !== undefined && owner === localName(file, 'Pool', 'pg');
  return name === 'Pool' && importedFrom(file, owner ?? '') === 'pg';
}

/** Where a class ends the pool that it is given: the application does that now. */
function endsOf(file: CodeFile, injected: ts.Node, notes: Note[]): void {
  const { compiler, syntax } = file;
  const name =
    compiler.isParameter(injected) || compiler.isPropertyDeclaration(injected) ? injected.name.getText(syntax) : '';
  for (const node of file.nodes()) {
    if (compiler.isCallExpression(node) && node.expression.getText(syntax) === `this.${name}.end`) {
      const piece = node.expression.getText(syntax);
      notes.push({ path: file.path, piece, text: 'the pool is closed with the application: remove this call' });
      return;
    }
  }
}

// ── a field ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function fieldOf({ compiler }: CodeFile, creation: ts.NewExpression): ts.PropertyDeclaration | undefined {
  const { parent } = creation;
  return compiler.isPropertyDeclaration(parent) && parent.initializer === creation ? parent : undefined;
}

/** Where a constructor, or what gives a field its value, calls a method of the class or hands the object on. */
function ownCall(file: CodeFile, member: ts.ClassElement): ts.Node | undefined {
  const { compiler } = file;
  for (const node of file.nodes(member)) {
    if (node.kind !== compiler.SyntaxKind.ThisKeyword) continue;
    const { parent } = node;
    const isMember = compiler.isPropertyAccessExpression(parent) && parent.expression === node;
    const isCalled = isMember && compiler.isCallExpression(parent.parent) && parent.parent.expression === parent;
    if ((isCalled || !isMember) && !isInFunction(file, node, member)) return node;
  }
  return undefined;
}

/** Inside a function that a field has as its value: it runs later. Those in a constructor may run at once. */
function isInFunction({ compiler }: CodeFile, node: ts.Node, member: ts.ClassElement): boolean {
  if (!compiler.isPropertyDeclaration(member) || member.initializer === undefined) return false;
  const { initializer } = member;
  const isFunction = compiler.isArrowFunction(initializer) || compiler.isFunctionExpression(initializer);
  return isFunction && node.pos >= initializer.pos && node.end <= initializer.end;
}

function* creationsOf(file: CodeFile, name: string): Generator<ts.NewExpression> {
  const { compiler } = file;
  if (!file.text.includes(`new ${name}`)) return;
  for (const node of file.nodes()) {
    if (compiler.isNewExpression(node) && compiler.isIdentifier(node.expression) && node.expression.text === name)
      yield node;
  }
}

function ofField(
  project: Project,
  file: CodeFile,
  field: ts.PropertyDeclaration,
  config: ts.ObjectLiteralExpression | undefined,
  target: Target,
): Found {
  const { compiler, syntax } = file;
  const owner = field.parent;
  const decorators = compiler.isClassDeclaration(owner) ? (compiler.getDecorators(owner) ?? []) : [];
  const isNests = decorators.some(({ expression }) =>
    NEST_CLASSES.has(/^\w+/.exec(expression.getText(syntax))?.[0] ?? ''),
  );
  if (!isNests) throw new Unsure('Nest does not make its class, so that nothing can be injected; hand a pool to it');
  const modifiers = field.modifiers ?? [];
  const isStatic = modifiers.some(({ kind }) => kind === compiler.SyntaxKind.StaticKeyword);
  if (!compiler.isIdentifier(field.name) || isStatic) {
    throw new Unsure('nothing can be injected into a static or #private field; inject the pool into the constructor');
  }
  const own = `this.${field.name.text}`;
  for (const member of owner.members) {
    const early =
      compiler.isConstructorDeclaration(member) || (compiler.isPropertyDeclaration(member) && member !== field);
    if (early && new RegExp(`${own.replace('.', '\\.')}\\b`).test(member.getText(syntax))) {
      throw new Unsure('the constructor or another field uses it; inject the pool into the constructor');
    }
    const call = early ? ownCall(file, member) : undefined;
    if (call !== undefined) {
      throw new Unsure(
        `the constructor or another field may use it, at ${file.at(call)}; inject the pool into the constructor`,
      );
    }
  }
  const notes: Note[] = [];
  const ownName = compiler.isClassDeclaration(owner) ? owner.name?.text : undefined;
  if (ownName !== undefined) {
    for (const source of project.sources()) {
      for (const creation of creationsOf(source, ownName)) {
        if (!isTest(source)) {
          throw new Unsure(
            `its class is made without Nest at ${source.at(creation)}, and would have no pool there; hand a pool to it`,
          );
        }
        const text = `${ownName} has no pool here: make it with Test.createTestingModule, or give it one`;
        notes.push({ path: source.path, piece: `new ${ownName}(`, text });
      }
    }
  }
  const source =
    nameFor(field.name.text, '', target.taken) || (compiler.isClassDeclaration(owner) ? owner.name?.text : '');
  const name = target.name(nameFor(source ?? '', 'database', target.taken));
  const { quote } = target.style;
  const rewrite = new Rewrite();
  const start = field.getStart(syntax);
  rewrite.edit(file, { start, end: start, text: `@InjectPool(${quote}${name}${quote}) ` }, 'InjectPool');
  rewrite.edit(
    file,
    // Its value comes after the constructor: the compiler is told that there will be one.
    { start: field.name.end, end: field.initializer?.end ?? field.name.end, text: '!: PostgresPool' },
    'PostgresPool',
  );
  endsOf(file, field, notes);
  return {
    rewrite,
    entry: target.isDeclared ? undefined : entryOf(file, name, config, target),
    names: ['fromPgPoolConfig'],
    unused: [['Pool', 'pg']],
    done: `${compiler.isClassDeclaration(owner) ? (owner.name?.text ?? '') : ''}.${field.name.text} is the pool ${name}`,
    notes,
  };
}
