/**
 * Compiles the declarations that were last built as applications see them that have some of the optional peers: none, a
 * single one, all. Each with `skipLibCheck: false`, once from an ES module and once from a CommonJS file under `module:
 * node16`, the strictest of the settings that are in use. What is installed is full of types; what isn't is `any`, and
 * no error.
 *
 * Usage: node scripts/declarations.mjs
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Per optional package: a type of ours that is made of one of its types. */
const madeOf = {
  pg: 'ReturnType<typeof pools.asPgPool>',
  ioredis: "Parameters<NonNullable<pools.RedisClient['defineCommand']>>[1]",
  axios: "pools.HttpPool['axiosRef']",
  'prom-client': "ReturnType<pools.MetricsRegistry['getMetricsAsArray']>",
  '@nestjs/terminus': "Awaited<ReturnType<pools.PoolHealthIndicator['check']>>",
};
const names = Object.keys(madeOf);

/** @type {{ peerDependenciesMeta: Record<string, { optional?: boolean }> }} */
const { peerDependenciesMeta } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const optional = Object.keys(peerDependenciesMeta);

/** @type {ts.CompilerOptions} */
const options = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2022.d.ts'],
  module: ts.ModuleKind.Node16,
  moduleResolution: ts.ModuleResolutionKind.Node16,
  types: ['node'],
  strict: true,
  noEmit: true,
  skipLibCheck: false,
};

/** What is read once, and is the same in each compilation. @type {Map<string, ts.SourceFile | undefined>} */
const sources = new Map();

let failed = false;
for (const installed of [[], ...names.map((name) => [name]), optional]) {
  const errors = compile(installed);
  console.log(`${errors.length === 0 ? 'ok' : 'FAILED'}: with ${installed.join(', ') || 'no optional package'}`);
  for (const error of errors) console.error(error);
  failed ||= errors.length > 0;
}
process.exitCode = failed ? 1 : 0;

/**
 * @param {readonly string[]} installed the optional packages that the application has
 * @returns {string[]} what the compiler has against the application or our declarations
 */
function compile(installed) {
  const isMissing = (/** @type {string} */ specifier) =>
    optional.some((name) => !installed.includes(name) && (specifier === name || specifier.startsWith(`${name}/`)));
  const host = ts.createCompilerHost(options);
  const cache = ts.createModuleResolutionCache(root, (name) => name, options);
  const { getSourceFile, fileExists, readFile } = host;
  // Applications beside package.json find the package by its own name, through its `exports`.
  const applications = new Map(
    ['.mts', '.cts'].map((ending) => [`${root}application${ending}`, application(installed)]),
  );
  host.fileExists = (file) => applications.has(file) || fileExists(file);
  host.readFile = (file) => applications.get(file) ?? readFile(file);
  host.getSourceFile = (file, languageVersion, onError, shouldCreateNew) => {
    const text = applications.get(file);
    if (text !== undefined) return ts.createSourceFile(file, text, languageVersion);
    if (!sources.has(file)) sources.set(file, getSourceFile(file, languageVersion, onError, shouldCreateNew));
    return sources.get(file);
  };
  host.resolveModuleNameLiterals = (literals, containingFile, redirected, compilerOptions, sourceFile) =>
    literals.map((literal) => {
      if (isMissing(literal.text)) return { resolvedModule: undefined };
      const mode = ts.getModeForUsageLocation(sourceFile, literal, compilerOptions);
      return ts.resolveModuleName(literal.text, containingFile, compilerOptions, host, cache, redirected, mode);
    });
  const program = ts.createProgram([...applications.keys()], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .filter(({ file }) => !file?.fileName.includes('/node_modules/'))
    .map((diagnostic) => ts.formatDiagnostic(diagnostic, { ...host, getNewLine: () => '\n' }).trimEnd());
}

/** @param {readonly string[]} installed */
function application(installed) {
  return [
    "import * as pools from 'nestjs-pool-manager';",
    'type IsAny<T> = 0 extends 1 & T ? true : false;',
    ...Object.entries(madeOf).map(
      ([name, type], index) => `export const isAny${index}: IsAny<${type}> = ${String(!installed.includes(name))};`,
    ),
    "export const query = (pool: pools.PostgresPool) => pool.query('select 1').then(({ rows }) => rows.length);",
    // One set of classes, whichever way the package is loaded.
    "declare module 'nestjs-pool-manager' { interface PoolRegistry { orders: pools.PostgresPool } }",
    "export const find = (manager: pools.ConnectionPoolManager): pools.PostgresPool => manager.getPool('orders');",
    '',
  ].join('\n');
}
