/**
 * `HttpModule` and `HttpService` of @nestjs/axios that become HTTP pools: `HttpModule` leaves the imports of a module,
 * and the classes of that module get an `HttpPool`, which has the same methods.
 *
 * Only classes that use nothing of `HttpService` but those, and modules whose `HttpModule` is theirs alone.
 */
import type ts from 'typescript';

import { classes, decorator, isInImport, mentions, nameOf, property } from '../project/nest-syntax.js';
import { isTest, type Project } from '../project/project.js';
import type { PoolEntry } from '../project/registration.js';
import type { CodeFile } from '../text/code-file.js';
import { localName } from '../text/imports.js';
import { withoutMember } from '../text/members.js';
import { isSelfContained, literalText, moved } from './expressions.js';
import { checkStrays, classNamed, type FoundClass, modulesOf, namedUser, NEST_AXIOS } from './http-users.js';
import type { Migration, SureMigration, Target } from './migration.js';
import { nameFor } from './pool-names.js';
import { Rewrite } from './rewrite.js';
import { Unsure } from './unsure.js';

/** What `HttpService` and `HttpPool` both have, meaning the same. */
const COMMON = new Set([
  'request',
  'get',
  'delete',
  'head',
  'post',
  'put',
  'patch',
  'postForm',
  'putForm',
  'patchForm',
  'axiosRef',
]);
/** Options of `HttpModule.register` that an HTTP pool has under its own name. */
const SAME_OPTIONS = new Set(['baseURL', 'headers']);

/** `HttpModule`, or `HttpModule.register({ … })`, in the imports of a module. */
interface HttpImport {
  readonly file: CodeFile;
  readonly moduleName: string;
  readonly metadata: ts.ObjectLiteralExpression;
  readonly list: ts.ArrayLiteralExpression;
  readonly element: ts.Expression;
}

export function* httpModules(project: Project, target: Target): Generator<Migration> {
  for (const file of project.sources()) {
    if (isTest(file)) yield* inTests(file);
    else {
      for (const found of httpImports(file)) {
        const place = file.at(found.element);
        try {
          const sure = migration(project, found, target);
          sure.rewrite.refuseTakenNames();
          yield { place, ...sure };
        } catch (error) {
          if (!(error instanceof Unsure)) throw error;
          yield { place: error.at ?? place, unsure: `HttpModule of ${found.moduleName}: ${error.message}` };
        }
      }
      yield* otherUses(file);
    }
  }
}

/** `HttpModule` in a dynamic module, in a variable, in a function. */
function* otherUses(file: CodeFile): Generator<Migration> {
  const { compiler } = file;
  const local = localName(file, 'HttpModule', NEST_AXIOS);
  if (local === undefined) return;
  const known = [...httpImports(file)].flatMap(({ metadata }) => [
    property(file, metadata, 'imports'),
    property(file, metadata, 'exports'),
  ]);
  for (const node of file.nodes()) {
    if (!compiler.isIdentifier(node) || node.text !== local || isInImport(file, node)) continue;
    if (known.some((place) => place !== undefined && node.pos >= place.pos && node.end <= place.end)) continue;
    const unsure =
      'HttpModule is used outside of the imports of a @Module; declare a pool in PoolManagerModule, and give it to ' +
      'those classes with @InjectPool';
    yield { place: file.at(node), unsure };
  }
}

/** A test that provides `HttpService` itself, or imports the module, gives nothing to a class that has a pool. */
function* inTests(file: CodeFile): Generator<Migration> {
  for (const name of ['HttpService', 'HttpModule']) {
    const local = localName(file, name, NEST_AXIOS);
    const use = local === undefined ? undefined : mentions(file, local);
    if (use !== undefined) {
      const unsure = `a class with a pool needs it under its name: { provide: getPoolToken('…'), useValue: … }`;
      yield { place: file.at(use), unsure, onlyAfterChanges: true };
    }
  }
}

function* httpImports(file: CodeFile): Generator<HttpImport> {
  const { compiler, syntax } = file;
  const local = localName(file, 'HttpModule', NEST_AXIOS);
  if (local === undefined) return;
  for (const found of classes(file)) {
    const metadata = decorator(file, found, localName(file, 'Module', '@nestjs/common') ?? 'Module')?.arguments[0];
    if (metadata === undefined || !compiler.isObjectLiteralExpression(metadata)) continue;
    const list = property(file, metadata, 'imports')?.initializer;
    if (list === undefined || !compiler.isArrayLiteralExpression(list)) continue;
    for (const element of list.elements) {
      const [head] = /^\w+/.exec(element.getText(syntax)) ?? [];
      if (head === local) yield { file, moduleName: found.name?.text ?? '', metadata, list, element };
    }
  }
}

type Found = Omit<SureMigration, 'place'>;

/** @throws Unsure */
function migration(project: Project, found: HttpImport, target: Target): Found {
  const { file, moduleName, list, element } = found;
  const name = target.name(nameFor(moduleName, 'http', target.taken));
  const { entry, hasTimeout } = entryOf(found, name, target);
  checkExports(found);
  const rewrite = new Rewrite();
  const members = [...memberClasses(project, found)];
  const users = members.filter(({ source }) => localName(source, 'HttpService', NEST_AXIOS) !== undefined);
  const rewritten = users.filter(({ source, declaration }) =>
    rewriteClass(source, declaration, name, rewrite, project),
  );
  if (rewritten.length === 0)
    throw new Unsure('no class of the module has an HttpService in its constructor; is it needed?');
  checkStrays(project);
  rewrite.edit(file, withoutMember(file, list, element, project.style(file)));
  const text = `the pool ${name} has no limit of time, as HttpModule had none: timeoutMs is 30,000 ms unless it is set`;
  const notes = target.isDeclared || hasTimeout ? [] : [{ path: target.path, piece: `${name}: {`, text }];
  return {
    rewrite,
    entry: target.isDeclared ? undefined : entry,
    names: [],
    unused: [
      ['HttpModule', NEST_AXIOS],
      ['HttpService', NEST_AXIOS],
      ['Inject', '@nestjs/common'],
    ],
    done: `HttpModule of ${moduleName} is the pool ${name}, in ${rewritten.map(({ name: user }) => user).join(', ')}`,
    notes,
  };
}

/** @throws Unsure where other modules may have the HttpService of this one. */
function checkExports({ file, metadata }: HttpImport): void {
  const { compiler } = file;
  const [name, local] = ['exports', localName(file, 'HttpModule', NEST_AXIOS)];
  const exported = metadata.properties.find(
    (member) => member.name !== undefined && nameOf(file, member.name) === name,
  );
  const list = exported && compiler.isPropertyAssignment(exported) ? exported.initializer : undefined;
  if (list !== undefined && compiler.isArrayLiteralExpression(list)) {
    for (const node of file.nodes(list)) {
      if (compiler.isIdentifier(node) && node.text === local) {
        throw new Unsure('it is exported, so that other modules use it too; move those classes over by hand');
      }
      if (compiler.isSpreadElement(node)) throw new Unsure('its exports are no literal; move it over by hand');
    }
  } else if (exported !== undefined || metadata.properties.some((member) => compiler.isSpreadAssignment(member))) {
    throw new Unsure('its exports are no literal; move it over by hand');
  }
}

// ── the options ─────────────────────────────────────────────────────────────────────────────────────────────────────

function entryOf(
  { file, element }: HttpImport,
  name: string,
  { style }: Target,
): { readonly entry: PoolEntry; readonly hasTimeout: boolean } {
  const { compiler, syntax } = file;
  const type = `type: ${style.quote}http${style.quote}`;
  // As with HttpModule, the start doesn't wait for the service, and the balancer doesn't care for it.
  const entry = (...options: string[]): PoolEntry => ({ name, options: [type, ...options, 'critical: false'] });
  if (compiler.isIdentifier(element)) return { entry: entry('timeoutMs: 0'), hasTimeout: false };
  const [config] = compiler.isCallExpression(element) ? element.arguments : [];
  const isRegister = compiler.isCallExpression(element) && element.expression.getText(syntax).endsWith('.register');
  if (!isRegister || config === undefined || !compiler.isObjectLiteralExpression(config)) {
    throw new Unsure('its options are not a literal; declare the pool in PoolManagerModule, with forRootAsync');
  }
  if (!isSelfContained(file, config)) {
    throw new Unsure('its options use values of this file; declare the pool in PoolManagerModule by hand');
  }
  if (property(file, config, 'global') !== undefined) {
    throw new Unsure('it is global, so that every module may use it; move its classes over by hand');
  }
  const named: string[] = [];
  const client: string[] = [];
  let hasTimeout = false;
  for (const member of config.properties) {
    const option = member.name === undefined ? '' : nameOf(file, member.name);
    if (option === 'timeout' && compiler.isPropertyAssignment(member)) {
      hasTimeout = true;
      named.push(`timeoutMs: ${moved(file, member.initializer)}`);
    } else if (SAME_OPTIONS.has(option)) named.push(moved(file, member));
    else client.push(moved(file, member));
  }
  if (!hasTimeout) named.push('timeoutMs: 0');
  if (client.length > 0) {
    const room = style.width - 5 * style.indent.length - 'client: ,'.length;
    named.push(`client: ${literalText(client, style, room)}`);
  }
  return { entry: entry(...named), hasTimeout };
}

// ── the classes ─────────────────────────────────────────────────────────────────────────────────────────────────────

interface MemberClass extends FoundClass {
  readonly name: string;
}

/** The providers and controllers of a module. */
function* memberClasses(project: Project, { file, metadata, moduleName }: HttpImport): Generator<MemberClass> {
  const { compiler, syntax } = file;
  for (const key of ['providers', 'controllers']) {
    const list = property(file, metadata, key)?.initializer;
    if (list === undefined) continue;
    if (!compiler.isArrayLiteralExpression(list)) throw new Unsure(`its ${key} are no literal; move it over by hand`);
    for (const element of list.elements) {
      if (!compiler.isIdentifier(element)) {
        if (compiler.isSpreadElement(element)) {
          throw new Unsure(`its ${key} are no literal; move it over by hand`, file.at(element));
        }
        if (/\bHttpService\b/.test(element.getText(syntax))) {
          throw new Unsure('a provider with a factory uses it; inject getPoolToken(…) there', file.at(element));
        }
        const other = namedUser(project, file, element);
        if (other !== undefined) {
          throw new Unsure(`${other} has an HttpService too; move it over by hand first`, file.at(element));
        }
        continue;
      }
      const found = classNamed(project, file, element.text);
      if (found === undefined) {
        throw new Unsure(`${element.text} was not found; move the module over by hand`, file.at(element));
      }
      const { source, declaration } = found;
      for (const node of source.nodes(declaration)) {
        const enhancer = compiler.isDecorator(node) ? namedUser(project, source, node) : undefined;
        if (enhancer !== undefined) {
          throw new Unsure(`${enhancer} has an HttpService too; move it over by hand first`, source.at(node));
        }
      }
      if (localName(source, 'HttpService', NEST_AXIOS) !== undefined) {
        const other = modulesOf(project, element.text).find((name) => name !== moduleName);
        if (other !== undefined) throw new Unsure(`${element.text} is in ${other} too; move it over by hand`);
      }
      yield { name: element.text, source, declaration };
    }
  }
}

/**
 * @returns whether there was an `HttpService` to replace.
 * @throws Unsure
 */
function rewriteClass(
  file: CodeFile,
  declaration: ts.ClassDeclaration,
  pool: string,
  rewrite: Rewrite,
  project: Project,
): boolean {
  const { compiler, syntax } = file;
  const service = localName(file, 'HttpService', NEST_AXIOS) ?? '';
  const { quote } = project.style(file);
  const inject = `@InjectPool(${quote}${pool}${quote})`;
  const constructors = declaration.members.filter((member) => compiler.isConstructorDeclaration(member));
  const parameters = constructors.flatMap((member) => [...member.parameters]);
  const fields = declaration.members.filter((member) => compiler.isPropertyDeclaration(member));
  const injected = [...parameters, ...fields].filter((node) => node.type?.getText(syntax) === service);
  const handled: ts.Node[] = [];
  for (const node of injected) {
    checkUses(file, declaration, node);
    const decorators = compiler.getDecorators(node) ?? [];
    const [only] = decorators;
    if (compiler.isPropertyDeclaration(node) && decorators.length === 0) {
      throw new Unsure('a field of this type is filled by hand; move the class over by hand', file.at(node));
    }
    if (
      decorators.length > 1 ||
      (only !== undefined && !['@Inject()', `@Inject(${service})`].includes(only.getText(syntax)))
    ) {
      throw new Unsure('its HttpService has decorators of its own; move the class over by hand', file.at(node));
    }
    if (only === undefined) {
      const start = node.getStart(syntax);
      rewrite.edit(file, { start, end: start, text: `${inject} ` }, 'InjectPool');
    } else rewrite.replace(file, only, inject, 'InjectPool');
    if (node.type !== undefined) {
      rewrite.replace(file, node.type, 'HttpPool', 'HttpPool');
      handled.push(node.type);
    }
    for (const found of decorators) handled.push(found);
  }
  for (const node of file.nodes(declaration)) {
    if (!compiler.isIdentifier(node) || node.text !== service) continue;
    if (!handled.some(({ pos, end }) => node.pos >= pos && node.end <= end)) {
      throw new Unsure(
        'its HttpService is used as a type or value of its own; move the class over by hand',
        file.at(node),
      );
    }
  }
  return injected.length > 0;
}

/** @throws Unsure for a use of an injected HttpService that is not one of the methods that a pool has too. */
function checkUses(
  file: CodeFile,
  declaration: ts.ClassDeclaration,
  injected: ts.ParameterDeclaration | ts.PropertyDeclaration,
): void {
  const { compiler } = file;
  const name = injected.name.getText(file.syntax);
  for (const node of file.nodes(declaration)) {
    if (!compiler.isIdentifier(node) || node.text !== name || node === injected.name) continue;
    const { parent } = node;
    const isMember = compiler.isPropertyAccessExpression(parent) && parent.name === node;
    // `other.http`, or a name of a property
    if (isMember && parent.expression.kind !== compiler.SyntaxKind.ThisKeyword) continue;
    if (compiler.isPropertyAssignment(parent) && parent.name === node) continue;
    const used = isMember ? parent : node;
    const access = used.parent;
    if (compiler.isPropertyAccessExpression(access) && access.expression === used && COMMON.has(access.name.text))
      continue;
    throw new Unsure(
      'its HttpService is handed on, or used in another way; move the class over by hand',
      file.at(used),
    );
  }
}
