// What `npm start` and `npm run demo` run after they have built it.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { type ChildProgram, startChild } from '../support/children.js';
import { claimRedis, createDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/servers/index.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const WITHIN = { withinMs: 60_000 };

/** Where the program under test keeps its temporary files: what is left in it afterwards is its own. */
let temporary: string;
let program: ChildProgram | undefined;

beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), 'sample-app-test-'));
  // PostgreSQL doesn't run as root, and its user has to come in, too.
  chmodSync(temporary, 0o777);
});

afterEach(async () => {
  await program?.stop();
  program = undefined;
  await eventually(() => rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }) === undefined);
});

function run(entry: 'start' | 'demo', env: NodeJS.ProcessEnv): ChildProgram {
  const { DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env;
  const file = fileURLToPath(new URL(`../../sample-app/${entry}.ts`, import.meta.url));
  program = startChild(process.execPath, ['--import', LOADER, file], {
    env: { ...inherited, NODE_OPTIONS: '', NO_COLOR: '1', TMPDIR: temporary, ...env },
  });
  return program;
}

/** Each process that `pid` has started, and those that they have started. */
function descendantsOf(pid: number): number[] {
  const children = processes()
    .filter(({ parent }) => parent === pid)
    .map((child) => child.pid);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

function processes(): readonly { readonly pid: number; readonly parent: number }[] {
  if (process.platform !== 'linux') {
    const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
    return [...table.matchAll(/(\d+)\s+(\d+)/g)].map(([, pid, parent]) => ({
      pid: Number(pid),
      parent: Number(parent),
    }));
  }
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const [, state, parent] = /\) (\S) (\d+) /.exec(readFileSync(`/proc/${entry}/stat`, 'utf8')) ?? [];
        // One that has ended but that nobody has asked about doesn't run.
        return state === 'Z' ? [] : [{ pid: Number(entry), parent: Number(parent) }];
      } catch {
        return [];
      }
    });
}

async function expectNothingLeft(started: readonly number[]): Promise<void> {
  await eventually(() => {
    const running = new Set(processes().map(({ pid }) => pid));
    expect(started.filter((pid) => running.has(pid))).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });
}

/** What curl would do with a line that was printed for it. */
function fetchLikeCurl(line: string): Promise<Response> {
  const headers = [...line.matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name = '', value = '']): [string, string] => [
    name,
    value,
  ]);
  const body = /-d '([^']+)'/.exec(line)?.[1];
  return fetch(line.split(' ').at(-1) ?? '', { headers, ...(body !== undefined && { method: 'POST', body }) });
}

describe('npm start', () => {
  it('starts everything, prints lines that work, and on Ctrl-C exits with 0 and leaves nothing', async () => {
    const port = await freePort();
    const child = run('start', { PORT: String(port) });
    await child.waitForLine(/Ctrl-C stops everything/, WITHIN);
    expect(child.output()).toContain(`The orders service listens on http://127.0.0.1:${port}\n`);

    const lines = child.output().match(/curl .+/g) ?? [];
    expect(lines).toHaveLength(3);
    const answers = await Promise.all(lines.map(fetchLikeCurl));
    expect(answers.map(({ status }) => status)).toEqual([200, 201, 200]);
    expect(await answers[1]?.json()).toMatchObject({ invoice: expect.stringMatching(/^INV-/) });

    const started = descendantsOf(child.pid);
    expect(readdirSync(temporary)).toHaveLength(2);
    child.signal('SIGINT');
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.output()).toMatch(/Pools closed in \d+ ms\. orders: nothing was in use/);
    expect(started.length).toBeGreaterThanOrEqual(3);
    await expectNothingLeft(started);
  }, 90_000);

  it('uses the servers that it is given, and another port when the one it is given is taken', async () => {
    await using database = await createDatabase();
    await using redis = await claimRedis();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    try {
      const address = other.address();
      const taken = typeof address === 'object' ? address?.port : undefined;
      const child = run('start', { PORT: String(taken), DATABASE_URL: database.url, REDIS_URL: redis.url });
      const [, port] = await child.waitForLine(/listens on http:\S+:(\d+) \(the port asked for was taken\)/, WITHIN);
      expect((await fetch(`http://127.0.0.1:${port}/health/ready`)).status).toBe(200);
      expect(readdirSync(temporary)).toEqual([]);
      const started = descendantsOf(child.pid);
      child.signal('SIGTERM');
      expect(await child.exited).toEqual({ code: 0, signal: null });
      await expectNothingLeft(started);
    } finally {
      other.close();
    }
  }, 90_000);

  it('exits with 0 and leaves nothing when it is interrupted while it starts', async () => {
    const child = run('start', { PORT: String(await freePort()) });
    await child.waitForLine(/Starting Nest application/, WITHIN);
    const started = descendantsOf(child.pid);
    child.signal('SIGINT');
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.output()).not.toContain('The start failed');
    await expectNothingLeft(started);
  }, 90_000);

  it('ends everything with 1 and says why when the service refuses to start', async () => {
    await using database = await createDatabase();
    const child = run('start', { PORT: String(await freePort()), DATABASE_URL: database.superuserUrl });
    await child.waitForLine(/Starting Nest application/, WITHIN);
    const started = descendantsOf(child.pid);
    expect(await child.exited).toEqual({ code: 1, signal: null });
    expect(child.output()).toMatch(/The orders service could not start: .* is a superuser/);
    expect(child.output()).not.toContain(new URL(database.superuserUrl).password);
    await expectNothingLeft(started);
  }, 90_000);

  it.each([
    ['DATABASE_URL', 'nonsense with a secret', /DATABASE_URL is not a URL; write it like postgres:/],
    ['REDIS_URL', 'nonsense with a secret', /REDIS_URL is not a URL; write it like redis:/],
    ['PORT', '70000', /PORT must be a whole number from 1 to 65535, not "70000"/],
  ])('exits with 1 before it starts anything when %s is malformed', async (variable, value, message) => {
    const child = run('start', { [variable]: value });
    expect(await child.exited).toEqual({ code: 1, signal: null });
    expect(child.output()).toMatch(message);
    expect(child.output()).not.toContain('secret');
    expect(readdirSync(temporary)).toEqual([]);
  });
});

describe('npm run demo', () => {
  it('shows that the tenant who floods is refused and the others are not, and exits with 0', async () => {
    const child = run('demo', { DEMO_SECONDS: '3', PORT: String(await freePort()) });
    await child.waitForLine(/3 seconds of traffic/, WITHIN);
    const started = descendantsOf(child.pid);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    const output = child.output();
    expect(output).toMatch(/tenant +requests +2xx +429 +503 +other +p50 ms +p99 ms +p99 before/);
    const row = (tenantId: string): number[] =>
      new RegExp(`^${tenantId}((?: +[\\d.]+){8})$`, 'm').exec(output)?.[1]?.trim().split(/ +/).map(Number) ?? [];
    const [requests = 0, ok = 0, limited = 0, , other] = row('globex');
    expect(requests).toBeGreaterThan(60);
    expect(ok).toBeGreaterThan(0);
    expect(limited).toBeGreaterThan(0);
    expect(other).toBe(0);
    for (const tenantId of ['acme', 'initech']) {
      expect(row(tenantId)).toHaveLength(8);
      const [, served = 0, refused, , failed] = row(tenantId);
      expect(served).toBeGreaterThan(0);
      expect([refused, failed]).toEqual([0, 0]);
    }
    expect(output).toMatch(/Pools closed in \d+ ms\. orders: /);
    await expectNothingLeft(started);
  }, 120_000);
});
