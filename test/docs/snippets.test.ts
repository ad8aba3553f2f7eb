// Every block of TypeScript in README.md and docs/ is compiled as an application compiles its own code, and run where
// its page says so.
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import ts from 'typescript';

import { startChild } from '../support/children.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { type SnippetFiles, writeSnippets } from './snippet-files.js';
import { pages, placeOf, ROOT, type Snippet, snippetsOf } from './snippets.js';

const snippets = pages().flatMap(snippetsOf);
const typescript = snippets.filter(({ language, exemption }) => language === 'ts' && exemption === undefined);
const isShown = (page: string) => snippets.some((snippet) => snippet.page === page && (snippet.isRun || snippet.language === 'sql'));
const runPages = pages().filter(isShown);

let files: SnippetFiles;
beforeAll(() => {
  files = writeSnippets(typescript);
});
afterAll(() => files[Symbol.dispose]());

it('exempts no block of TypeScript without a reason', () => {
  const exempt = snippets.filter(({ exemption }) => exemption !== undefined);
  expect(exempt.filter(({ exemption = '' }) => exemption.split(' ').length < 4).map(placeOf)).toEqual([]);
});

it('compiles every block of TypeScript, by the strictest of settings', () => {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: { compilerOptions: Record<string, unknown> };
  };
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  // Names of pools are the whole program's once they are listed: pages that list some are programs of their own.
  const listing = new Set(typescript.filter(({ code }) => code.includes('interface PoolRegistry')).map(({ page }) => page));
  const programs = [typescript.filter(({ page }) => !listing.has(page)), ...[...listing].map(ofPage)];
  let host: ts.CompilerHost | undefined;
  const problems = programs.flatMap((program) => {
    host ??= cachingHost(options);
    const compiled = ts.createProgram(program.map((snippet) => files.fileOf(snippet)), options, host);
    return ts.getPreEmitDiagnostics(compiled).map((diagnostic) => described(diagnostic, program));
  });
  expect(problems).toEqual([]);
}, 240_000);

const ofPage = (page: string): readonly Snippet[] => typescript.filter((snippet) => snippet.page === page);

/** Reads and parses each file once for all programs. */
function cachingHost(options: ts.CompilerOptions): ts.CompilerHost {
  const host = ts.createCompilerHost(options);
  const parsed = new Map<string, ts.SourceFile | undefined>();
  return {
    ...host,
    getSourceFile: (name, ...rest) => {
      if (!parsed.has(name)) parsed.set(name, host.getSourceFile(name, ...rest));
      return parsed.get(name);
    },
  };
}

/** What the compiler says, and of which block. */
function described({ file, start, messageText }: ts.Diagnostic, program: readonly Snippet[]): string {
  const message = ts.flattenDiagnosticMessageText(messageText, '\n');
  const snippet = program.find((candidate) => files.fileOf(candidate) === file?.fileName);
  if (file === undefined || snippet === undefined) return `${file?.fileName ?? 'no file'}: ${message}`;
  const { line } = file.getLineAndCharacterOfPosition(start ?? 0);
  return `${placeOf(snippet)}: ${file.text.split('\n')[line]?.trim() ?? ''}\n  ${message}`;
}

it('parses every block of JavaScript', () => {
  const problems = snippets
    .filter(({ language }) => language === 'js')
    .flatMap((snippet) => {
      const { diagnostics = [] } = ts.transpileModule(snippet.code, {
        compilerOptions: { allowJs: true },
        fileName: 'snippet.js',
        reportDiagnostics: true,
      });
      return diagnostics.map(({ messageText }) => `${placeOf(snippet)}: ${JSON.stringify(messageText)}`);
    });
  expect(problems).toEqual([]);
});

describe('on real servers', () => {
  let redis: TestRedis;
  let upstream: HttpFixture;

  beforeAll(async () => {
    redis = await claimRedis();
    upstream = await startHttpServer({ handler: answerAnything });
  });
  afterAll(async () => {
    await upstream.close();
    await redis.release();
  });

  it.each(runPages)('runs what %s shows', async (page) => {
    await using database = await createDatabase();
    const env = { DATABASE_URL: database.url, REDIS_URL: redis.url, UPSTREAM_URL: upstream.url };
    for (const snippet of snippets.filter((candidate) => candidate.page === page && candidate.language === 'sql')) {
      await runSql(database, snippet);
    }
    const run = ofPage(page).filter(({ isRun }) => isRun);
    if (run.length === 0) return;
    await runModules(page, run, env);
  }, 120_000);
});

/** An upstream of which pages may ask what they like. */
function answerAnything(request: IncomingMessage, response: ServerResponse): boolean {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ path: request.url }));
  return true;
}

/** Runs a text of statements as superuser. */
async function runSql(database: TestDatabase, snippet: Snippet): Promise<void> {
  const client = new pg.Client({ connectionString: database.superuserUrl });
  await client.connect();
  try {
    await client.query(snippet.code);
  } catch (cause) {
    throw new Error(`${placeOf(snippet)} failed: ${String(cause)}`, { cause });
  } finally {
    await client.end();
  }
}

/** Runs modules one after the other, in a process that has to end by itself. */
async function runModules(page: string, run: readonly Snippet[], env: Record<string, string>): Promise<void> {
  const entry = join(files.folderOf(page), 'run.mjs');
  const imports = run.map((snippet) => {
    const url = pathToFileURL(files.fileOf(snippet)).href;
    return `console.log('running ${placeOf(snippet)}'); await import(${JSON.stringify(url)});`;
  });
  writeFileSync(entry, imports.join('\n'));
  const { NODE_OPTIONS: _options, DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env;
  const loader = join(ROOT, 'test/support/typescript/register.mjs');
  await using child = startChild(process.execPath, ['--import', loader, entry], {
    cwd: ROOT,
    env: { ...inherited, NO_COLOR: '1', ...env },
  });
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`It ended with exit code ${String(code)}:\n${child.output()}`);
}
