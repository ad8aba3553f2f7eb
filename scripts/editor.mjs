/**
 * What an editor shows of the declarations that were last built: hovers over options with their unit and default, and
 * the names of the pools where one is misspelt.
 *
 * Usage: node scripts/editor.mjs
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Beside package.json, it finds the package by its own name, through its `exports`. */
const file = `${root}application.mts`;

const text = `
import { ConnectionPoolManager, InjectPool, PoolManagerModule, PostgresPool, RedisPool } from 'nestjs-pool-manager';
declare module 'nestjs-pool-manager' {
  interface PoolRegistry { orders: PostgresPool; cache: RedisPool }
}
PoolManagerModule.forRoot({
  pools: {
    orders: { type: 'database', maxSize: 3, tenants: { max: 2, weight: 1 }, isolation: { mode: 'rls', setting: 'a.b' } },
    cache: { type: 'redis', acquireTimeoutMs: 1, url: 'redis://localhost' },
    billing: { type: 'http', timeoutMs: 1, healthCheck: { intervalMs: 1 } },
  },
  shutdown: { drainTimeoutMs: 3 },
});
export class Service {
  constructor(@InjectPool('ordrs') readonly orders: PostgresPool) {}
}
`;

/** @type {Readonly<Record<string, RegExp>>} */
const hovers = {
  maxSize: /Slots .*whole number, at least 1\..*@defaultValue `10`/s,
  max: /in use at once.*whole number, at least 1, or Infinity\..*@defaultValue none/s,
  weight: /share.*number, more than 0\..*@defaultValue `1`/s,
  setting: /policies.*@defaultValue `'app\.tenant_id'`/s,
  acquireTimeoutMs: /acquire waits.*ms, at least 1\..*@defaultValue `10_000`/s,
  url: /@defaultValue the environment variable `REDIS_URL`/,
  timeoutMs: /request.*ms, at least 0\..*@defaultValue `[\d_]+`/s,
  intervalMs: /probes.*ms, at least 0\..*@defaultValue `30_000`/s,
  drainTimeoutMs: /leases.*ms, at least 0\..*@defaultValue `10_000`/s,
};

/** @type {ts.CompilerOptions} */
const options = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  experimentalDecorators: true,
  types: ['node'],
};
const service = ts.createLanguageService({
  directoryExists: ts.sys.directoryExists,
  getDirectories: ts.sys.getDirectories,
  readDirectory: ts.sys.readDirectory,
  fileExists: (path) => path === file || ts.sys.fileExists(path),
  readFile: (path) => (path === file ? text : ts.sys.readFile(path)),
  getScriptFileNames: () => [file],
  getScriptVersion: () => '1',
  getScriptSnapshot: (path) => {
    const content = path === file ? text : ts.sys.readFile(path);
    return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content);
  },
  getCurrentDirectory: () => root,
  getCompilationSettings: () => options,
  getDefaultLibFileName: ts.getDefaultLibFilePath,
});

for (const [option, expected] of Object.entries(hovers)) assert.match(hoverOver(option), expected);
const errors = service
  .getSemanticDiagnostics(file)
  .map((error) => ts.flattenDiagnosticMessageText(error.messageText, ' '));
assert.deepEqual(errors, [`Argument of type '"ordrs"' is not assignable to parameter of type '"orders" | "cache"'.`]);
console.log(`ok: hovers over ${Object.keys(hovers).join(', ')}; a misspelt name`);

/** @param {string} option */
function hoverOver(option) {
  const info = service.getQuickInfoAtPosition(file, text.search(new RegExp(`\\b${option}:`)));
  const tags = info?.tags?.map(({ name, text: parts }) => `@${name} ${ts.displayPartsToString(parts)}`) ?? [];
  return [ts.displayPartsToString(info?.documentation), ...tags].join('\n');
}
