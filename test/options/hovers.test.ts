// What an editor shows of the package's declarations, as they are published: the compiler's own language service is
// asked.
import { join } from 'node:path';

import { beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import type { z } from 'zod';

import { poolKinds } from '../../lib/manager/pool-kinds.js';
import { registrationShape } from '../../lib/manager/pool-manager.options.js';

const ROOT = process.cwd();
const DECLARATIONS = join(ROOT, 'declarations');
const FIXTURE = join(ROOT, 'fixture.ts');

/** What the build would write, by path. */
const declarations = new Map<string, string>();

beforeAll(() => {
  const path = join(ROOT, 'tsconfig.build.json');
  const { config } = ts.readConfigFile(path, ts.sys.readFile) as { config: unknown };
  const { options: forBuild, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const { tsBuildInfoFile: _file, ...options } = forBuild;
  const program = ts.createProgram(fileNames, {
    ...options,
    composite: false,
    incremental: false,
    emitDeclarationOnly: true,
    declaration: true,
    outDir: DECLARATIONS,
  });
  program.emit(undefined, (name, text) => declarations.set(name, text));
}, 120_000);

/** The language service of an editor in which `text` is open. */
function editorOf(text: string): ts.LanguageService {
  const read = (path: string): string | undefined =>
    path === FIXTURE ? text : (declarations.get(path) ?? ts.sys.readFile(path));
  const exists = (path: string): boolean => path === FIXTURE || declarations.has(path) || ts.sys.fileExists(path);
  return ts.createLanguageService({
    getScriptFileNames: () => [FIXTURE],
    getScriptVersion: () => '1',
    getScriptSnapshot: (path) => {
      const source = read(path);
      return source === undefined ? undefined : ts.ScriptSnapshot.fromString(source);
    },
    getCurrentDirectory: () => ROOT,
    getCompilationSettings: () => ({
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      strict: true,
      exactOptionalPropertyTypes: true,
      experimentalDecorators: true,
      skipLibCheck: true,
      types: ['node'],
      paths: { 'nestjs-pool-manager': [join(DECLARATIONS, 'index.d.ts')] },
    }),
    getDefaultLibFileName: (options) => ts.getDefaultLibFilePath(options),
    fileExists: exists,
    readFile: read,
    directoryExists: (path) => path.startsWith(DECLARATIONS) || ts.sys.directoryExists(path),
  });
}

function errorsIn(editor: ts.LanguageService): string[] {
  return editor
    .getSemanticDiagnostics(FIXTURE)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

interface Hover {
  readonly option: string;
  readonly text: string;
  readonly defaultValue: string | undefined;
}

/** What is shown over each name that is set in the fixture. */
function hoversOf(editor: ts.LanguageService): Hover[] {
  const source = editor.getProgram()?.getSourceFile(FIXTURE);
  const hovers: Hover[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node) && ts.isIdentifier(node.name)) {
      const info = editor.getQuickInfoAtPosition(FIXTURE, node.name.getStart());
      const tag = info?.tags?.find(({ name }) => name === 'defaultValue');
      hovers.push({
        option: node.name.text,
        text: ts.displayPartsToString(info?.documentation),
        defaultValue: tag && ts.displayPartsToString(tag.text),
      });
    }
    ts.forEachChild(node, visit);
  };
  if (source !== undefined) visit(source);
  return hovers;
}

type Schema = z.core.$ZodType;

/** A literal that sets every option of a schema; several where options are alternatives. */
function literalsOf(schema: Schema): string[] {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  switch (def.type) {
    case 'default':
    case 'prefault':
    case 'optional':
    case 'readonly':
      return literalsOf(def.innerType);
    case 'pipe':
      return literalsOf(def.in._zod.def.type === 'transform' ? def.out : def.in);
    case 'object': {
      const members = Object.entries(def.shape).map(([name, member]) => ({ name, literals: literalsOf(member) }));
      const most = Math.max(1, ...members.map(({ literals }) => literals.length));
      return Array.from({ length: most }, (_, index) => {
        const set = members.map(({ name, literals }) => `${name}: ${literals[index % literals.length] ?? ''}`);
        return `{ ${set.join(', ')} }`;
      });
    }
    case 'union':
      return def.options.flatMap((option) => literalsOf(option));
    case 'array':
      return literalsOf(def.element).map((element) => `[${element}]`);
    case 'map':
      return literalsOf(def.valueType).map((value) => `{ 'a name': ${value} }`);
    case 'literal':
      return def.values.map((value) => JSON.stringify(value));
    default:
      return ['null!'];
  }
}

const POOLS = Object.values(poolKinds).flatMap(({ schema }) => literalsOf(schema));
const REGISTRATION = Object.entries(registrationShape).map(
  ([name, schema]) => `${name}: ${literalsOf(schema)[0] ?? ''}`,
);

/** Every option there is, as an application writes them. */
const EVERY_OPTION = `
import { PoolManagerModule } from 'nestjs-pool-manager';
PoolManagerModule.forRoot({
  pools: { ${POOLS.map((pool, index) => `'pool ${index}': ${pool}`).join(',\n')} },
  ${REGISTRATION.join(',\n')}
});
`;

describe('over an option an editor shows', () => {
  let hovers: Hover[];
  beforeAll(() => {
    const editor = editorOf(EVERY_OPTION);
    expect(errorsIn(editor)).toEqual([]);
    hovers = hoversOf(editor).filter(({ option }) => option !== 'type');
  }, 120_000);

  it('what it is for, and its default or that it is required', () => {
    expect(hovers.length).toBeGreaterThan(150);
    expect(hovers.filter(({ text, defaultValue = '' }) => text === '' || defaultValue === '')).toEqual([]);
  });

  it('the unit of its default, where it is a duration', () => {
    const durations = hovers.filter(({ option }) => option.endsWith('Ms'));
    expect(durations.length).toBeGreaterThan(30);
    expect(durations.filter(({ defaultValue = '' }) => !/ ms$|^never|^none/.test(defaultValue))).toEqual([]);
  });

  it('the default that the schema has', () => {
    const shown = Object.fromEntries(hovers.map(({ option, defaultValue }) => [option, defaultValue]));
    expect(shown).toMatchObject({
      acquireTimeoutMs: '`10_000` ms',
      connectConcurrency: 'a quarter of `maxSize`, at least 2',
      drainTimeoutMs: '`10_000` ms',
      driver: 'required',
      whenFull: expect.stringMatching(/'queue'|as for all/),
    });
  });
});

describe('a name of a pool that is not listed', () => {
  const REGISTRY = `
import { InjectPool, type PostgresPool, type RedisPool } from 'nestjs-pool-manager';
declare module 'nestjs-pool-manager' {
  interface PoolRegistry { orders: PostgresPool; cache: RedisPool }
}
`;

  it('is a type error that lists the names', () => {
    const wrong = `${REGISTRY} export class Orders { constructor(@InjectPool('oders') readonly orders: PostgresPool) {} }`;
    expect(errorsIn(editorOf(wrong))).toEqual([expect.stringMatching(/'"oders"'.*'(?=.*"orders")(?=.*"cache").*'/)]);
  });

  it('is none where the name is listed', () => {
    const right = `${REGISTRY} export class Orders { constructor(@InjectPool('orders') readonly orders: PostgresPool) {} }`;
    expect(errorsIn(editorOf(right))).toEqual([]);
  });
});
