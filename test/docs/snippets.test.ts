// Every block of TypeScript in README.md and docs/ is compiled as an application compiles its own code, and run where
// its page says so.
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import ts from 'typescript';

import { type ChildProgram, startChild } from '../support/children.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { type SnippetFiles, writeSnippets } from './snippet-files.js';
import { pages, placeOf, ROOT, type Snippet, snippetsOf } from './snippets.js';

const snippets = pages().flatMap(snippetsOf);
const typescript = snippets.filter(({ language, exemption }) => language === 'ts' && exemption === undefined);
const isToRun = ({ isRun, language }: Snippet): boolean => isRun || language === 'sql';
/** README's quick start has a test of its own. */
const runPages = pages().filter(
  (page) => page !== 'README.md' && snippets.some((snippet) => snippet.page === page && isToRun(snippet)),
);

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
  const listing = new Set(
    typescript.filter(({ code }) => code.includes('interface PoolRegistry')).map(({ page }) => page),
  );
  const programs = [typescript.filter(({ page }) => !listing.has(page)), ...[...listing].map(ofPage)];
  let host: ts.CompilerHost | undefined;
  const problems = programs.flatMap((program) => {
    host ??= cachingHost(options);
    const compiled = ts.createProgram(
      program.map((snippet) => files.fileOf(snippet)),
      options,
      host,
    );
    // Of the blocks alone: the library is checked elsewhere.
    const ofBlocks = program.flatMap((snippet) => {
      const file = compiled.getSourceFile(files.fileOf(snippet));
      return [...compiled.getSyntacticDiagnostics(file), ...compiled.getSemanticDiagnostics(file)];
    });
    return [...compiled.getOptionsDiagnostics(), ...ofBlocks].map((diagnostic) => described(diagnostic, program));
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
  const databases: TestDatabase[] = [];
  /** Why the SQL of a page failed. */
  const failures = new Map<string, unknown>();
  let child: ChildProgram;

  beforeAll(async () => {
    redis = await claimRedis();
    upstream = await startHttpServer({ handler: answerAnything });
    const runs: PageRun[] = [];
    for (const page of runPages) {
      const database = await createDatabase();
      databases.push(database);
      await runSql(page, database).catch((error: unknown) => failures.set(page, error));
      const env = { DATABASE_URL: database.url, REDIS_URL: redis.url, UPSTREAM_URL: upstream.url };
      const modules = ofPage(page).filter(({ isRun }) => isRun);
      if (!failures.has(page)) runs.push({ page, env, modules: modules.map(moduleOf) });
    }
    child = startRuns(runs);
  }, 120_000);
  afterAll(async () => {
    await child.stop();
    await upstream.close();
    await redis.release();
    for (const database of databases) await database.drop();
  });

  it.each(runPages)(
    'runs what %s shows',
    async (page) => {
      expect(failures.get(page)).toBeUndefined();
      const [, outcome] = await child.waitForLine(new RegExp(`^(ran|failed) ${page.replaceAll('.', '\\.')}$`), {
        withinMs: 120_000,
      });
      if (outcome !== 'ran') throw new Error(child.output());
    },
    120_000,
  );

  it('and the process that ran it ends by itself', async () => {
    expect(await child.exited).toEqual({ code: 0, signal: null });
  }, 60_000);
});

/** An upstream of which pages may ask what they like. */
function answerAnything(request: IncomingMessage, response: ServerResponse): boolean {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ path: request.url }));
  return true;
}

/** Runs the SQL of a page as superuser. */
async function runSql(page: string, database: TestDatabase): Promise<void> {
  const client = new pg.Client({ connectionString: database.superuserUrl });
  await client.connect();
  try {
    await runBlocks(page, client);
  } finally {
    await client.end();
  }
}

async function runBlocks(page: string, client: pg.Client): Promise<void> {
  for (const snippet of snippets.filter((candidate) => candidate.page === page && candidate.language === 'sql')) {
    try {
      await client.query(snippet.code);
    } catch (cause) {
      throw new Error(`${placeOf(snippet)} failed: ${String(cause)}`, { cause });
    }
  }
}

const moduleOf = (snippet: Snippet) => ({ place: placeOf(snippet), url: pathToFileURL(files.fileOf(snippet)).href });

/** The blocks of a page that are run, and with which environment. */
interface PageRun {
  readonly page: string;
  readonly env: Readonly<Record<string, string>>;
  readonly modules: readonly { readonly place: string; readonly url: string }[];
}

/** Runs all of them in one process, which loads the library once, and says of each page how it went. */
function startRuns(runs: readonly PageRun[]): ChildProgram {
  const entry = files.fileNamed('run.mjs');
  writeFileSync(entry, `const runs = ${JSON.stringify(runs)};\n${RUNNER}`);
  const { NODE_OPTIONS: _options, DATABASE_URL: _database, REDIS_URL: _redis, ...env } = process.env;
  const loader = join(ROOT, 'test/support/typescript/register.mjs');
  return startChild(process.execPath, ['--import', loader, entry], { cwd: ROOT, env: { ...env, NO_COLOR: '1' } });
}

const RUNNER = `
for (const { page, env, modules } of runs) {
  Object.assign(process.env, env);
  try {
    for (const { place, url } of modules) {
      console.log('running ' + place);
      await import(url);
    }
    console.log('ran ' + page);
  } catch (error) {
    console.log(error);
    console.log('failed ' + page);
  }
}
`;
