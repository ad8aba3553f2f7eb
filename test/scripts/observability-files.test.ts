// The dashboard, the rules and the compose file in observability/, against the metrics of the sample app. What needs
// Prometheus or its promtool is left out where they aren't installed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { type ChildProgram, startChild } from '../support/children.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { freePort, type HttpFixture, startHttpServer } from '../support/servers/index.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const SERVICE = fileURLToPath(new URL('../../sample-app/main.ts', import.meta.url));
const FOLDER = fileURLToPath(new URL('../../observability/', import.meta.url));
const RULES = join(FOLDER, 'prometheus/pool-manager.rules.yml');
const rules = readFileSync(RULES, 'utf8');

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}
const dashboard = JSON.parse(readFileSync(join(FOLDER, 'grafana/dashboards/pools.json'), 'utf8')) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly definition?: string }[] };
};

const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
const ruleQueries = [...rules.matchAll(/^ *expr: (.+)$/gm)].map(([, expr = '']) => expr);
const recorded = [...rules.matchAll(/record: (\S+)$/gm)].map(([, name = '']) => name);

/** The labels of each aggregation of a query that tells pools apart. */
function groupingsByPool(query: string): string[][] {
  return [...query.matchAll(/\bby \(([^)]*)\)/g)]
    .map(([, labels = '']) => labels.split(', '))
    .filter((labels) => labels.includes('pool'));
}

/** Every metric that a query names. */
function metricsIn(query: string): string[] {
  const withoutTexts = query.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  return [...withoutTexts.matchAll(/[a-zA-Z_:][\w:]*/g)]
    .map(([name]) => name)
    .filter((name) => name.startsWith('pool_manager_') || name.includes(':'));
}

const isInstalled = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const itWith = (program: string) => (isInstalled(program) ? it : it.skip);

function promtool(args: readonly string[], input?: string) {
  const { status, stdout, stderr } = spawnSync('promtool', args, {
    encoding: 'utf8',
    ...(input !== undefined && { input }),
  });
  return { status, said: stdout + stderr };
}

let database: TestDatabase;
let redis: TestRedis;
let billing: HttpFixture;
let service: ChildProgram;
let url: string;
let text: string;
let exported: ReadonlySet<string>;

beforeAll(async () => {
  [database, redis, billing] = await Promise.all([
    createDatabase(),
    claimRedis(),
    startHttpServer({
      handler: (_request, response) => {
        response.writeHead(201, { 'content-type': 'application/json' }).end('{"invoice":"INV-1"}');
        return true;
      },
    }),
  ]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const addresses = { DATABASE_URL: database.url, REDIS_URL: redis.url, BILLING_URL: billing.url, PORT: String(port) };
  service = startChild(process.execPath, ['--import', LOADER, SERVICE], {
    env: { ...process.env, NODE_OPTIONS: '', ...addresses },
  });
  await service.waitForLine(/Nest application successfully started/, { withinMs: 120_000 });
  await traffic();
  await fetch(`${url}/metrics`);
  text = await (await fetch(`${url}/metrics`)).text();
  exported = new Set(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = '', type]) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name],
    ),
  );
}, 180_000);

afterAll(async () => {
  await service.stop();
  await Promise.all([database.drop(), redis.release(), billing.close()]);
});

/** A few requests of three tenants at once. */
async function traffic(): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ item: 'hammock', quantity: 1 });
  await Promise.all(
    ['acme', 'globex', 'initech'].flatMap((tenant) =>
      ['/orders', '/orders/summary', '/orders'].map(async (path, index) => {
        const post = index === 0 ? { method: 'POST', body } : {};
        const response = await fetch(url + path, { headers: { ...headers, 'x-tenant-id': tenant }, ...post });
        await response.arrayBuffer();
      }),
    ),
  );
}

describe('the dashboard', () => {
  it('shows saturation, waiting, times, errors, tenants and health', () => {
    expect(dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual([
      'Saturation',
      'Waiting',
      'Times',
      'Errors',
      'Tenants',
      'Health',
    ]);
    expect(dashboard.panels.filter(({ type, targets }) => type !== 'row' && targets === undefined)).toEqual([]);
  });

  it('asks for metrics that the application exports, and for no others', () => {
    const asked = [
      ...queries.map(({ expr }) => expr),
      ...dashboard.templating.list.flatMap(({ definition }) => definition ?? []),
    ].flatMap(metricsIn);
    expect(asked.length).toBeGreaterThan(queries.length);
    expect(asked.filter((name) => !exported.has(name))).toEqual([]);
  });

  it('tells pools of the same name apart by their managers', () => {
    const groupings = queries.flatMap(({ expr }) => groupingsByPool(expr));
    expect(groupings.length).toBeGreaterThan(queries.length / 2);
    expect(groupings.filter((labels) => !labels.includes('manager'))).toEqual([]);
    const legends = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ legendFormat }) => legendFormat));
    expect(legends.filter((legend) => legend.includes('{{pool}}') && !legend.includes('{{manager}}'))).toEqual([]);
  });
});

describe('the rules', () => {
  it('tell pools of the same name apart by their managers', () => {
    const groupings = ruleQueries.flatMap(groupingsByPool);
    expect(groupings).not.toEqual([]);
    expect(groupings.filter((labels) => !labels.includes('manager'))).toEqual([]);
  });

  it('ask for metrics that the application exports, and for what other rules record', () => {
    const asked = ruleQueries.flatMap(metricsIn);
    expect(asked.length).toBeGreaterThan(10);
    expect(asked.filter((name) => !exported.has(name) && !recorded.includes(name))).toEqual([]);
  });

  itWith('promtool')('are ones that Prometheus can load', () => {
    expect(promtool(['check', 'rules', RULES])).toMatchObject({ status: 0 });
    expect(promtool(['check', 'config', join(FOLDER, 'prometheus/prometheus.yml')])).toMatchObject({ status: 0 });
  });

  itWith('promtool')('alert when they should, and only then', () => {
    const { status, said } = promtool(['test', 'rules', join(FOLDER, 'prometheus/pool-manager.rules.test.yml')]);
    expect(said).toContain('SUCCESS');
    expect(status).toBe(0);
  });
});

describe('the metrics of the sample app', () => {
  itWith('promtool')("follow Prometheus' rules for names and types", () => {
    expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
  });
});

describe('the compose file', () => {
  it('names files that there are', () => {
    const compose = readFileSync(join(FOLDER, 'compose.yml'), 'utf8');
    const mounted = [...compose.matchAll(/(\.\/[\w/-]+):\//g)].map(([, path = '']) => path);
    expect(mounted).toHaveLength(3);
    expect(mounted.filter((path) => !existsSync(resolve(FOLDER, path)))).toEqual([]);
  });
});

describe('a real Prometheus', () => {
  itWith('prometheus')(
    'scrapes the sample app, runs the rules, and has data for each query of the dashboard',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'prometheus-test-'));
      const address = `127.0.0.1:${await freePort()}`;
      writeFileSync(
        join(folder, 'prometheus.yml'),
        [
          'global: { scrape_interval: 1s, evaluation_interval: 1s }',
          `rule_files: ['${RULES}']`,
          'scrape_configs:',
          `  - { job_name: orders, static_configs: [{ targets: ['${new URL(url).host}'] }] }`,
        ].join('\n'),
      );
      const prometheus = startChild('prometheus', [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=${address}`,
      ]);
      const ask = async <T>(path: string): Promise<T> => {
        const answer = (await (await fetch(`http://${address}/api/v1/${path}`)).json()) as { data: T; error?: string };
        if (answer.error !== undefined) throw new Error(answer.error);
        return answer.data;
      };
      try {
        await prometheus.waitForLine(/ready to receive web requests/);
        await eventually(
          async () => {
            await traffic();
            for (const { title, expr } of queries) {
              const query = expr.replaceAll('$__rate_interval', '1m').replace(/\$(?:job|instance|pool)/g, '.*');
              const { result } = await ask<{ result: unknown[] }>(`query?query=${encodeURIComponent(query)}`);
              expect({ title, expr, series: result.length }).not.toMatchObject({ series: 0 });
            }
            const { groups } = await ask<{ groups: { rules: { name: string; health: string }[] }[] }>('rules');
            const unwell = groups.flatMap((group) => group.rules.filter(({ health }) => health !== 'ok'));
            expect(unwell).toEqual([]);
          },
          { withinMs: 90_000, everyMs: 500 },
        );
      } finally {
        await prometheus.stop();
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    },
    120_000,
  );
});
