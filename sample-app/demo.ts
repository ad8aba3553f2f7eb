/**
 * `npm run demo`: thirty seconds of traffic from three tenants, of which one floods; what became of each; the shutdown
 * report.
 *
 * `DEMO_SECONDS` changes how long it takes.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { TenantTraffic, TrafficOrder, TrafficReport } from './demo/traffic.js';
import { startLocalStack } from './local/local-stack.js';

/** Compiled beside compiled code, a source beside a source. */
const TRAFFIC = fileURLToPath(new URL(`demo/traffic${extname(import.meta.url)}`, import.meta.url));
const DEFAULT_SECONDS = 30;

const WIDTHS = [10, 10, 8, 8, 8, 8, 10, 10, 14] as const;
const HEADINGS = ['tenant', 'requests', '2xx', '429', '503', 'other', 'p50 ms', 'p99 ms', 'p99 before'].map(
  (heading, column) => cell(heading, column),
);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());

/**
 * What the service prints. It would bury the table, so only its last words are shown, or all of it when something
 * fails.
 */
const output: string[] = [];

try {
  const seconds = secondsOf(process.env.DEMO_SECONDS);
  console.log('Starting PostgreSQL, Redis, the billing service and the orders service…');
  const stack = await startLocalStack({ signal: interrupted.signal, onLine: (line) => output.push(line) });
  let beforeTheEnd = 0;
  try {
    console.log(`${seconds} seconds of traffic; after a third of it globex begins to flood with 60 callers…`);
    const report = await traffic({ url: stack.url, seconds });
    const before = new Map(report.calm.map((tenant) => [tenant.tenantId, tenant]));
    console.log(`\n${HEADINGS.join('')}`);
    for (const tenant of report.flood) console.log(row(tenant, before.get(tenant.tenantId)));
    console.log(
      '\nDuring the flood; p50 and p99 are of all answers, refusals included; p99 before is that of the calm before it.',
    );
    beforeTheEnd = output.length;
  } finally {
    process.exitCode = await stack.stop();
  }
  console.log(`\n${output.slice(beforeTheEnd).join('\n')}`);
} catch (error) {
  if (!interrupted.signal.aborted) {
    console.error(output.join('\n'));
    console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

function secondsOf(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_SECONDS;
  const seconds = Number(text);
  if (seconds >= 1 && seconds <= 3_600) return seconds;
  throw new Error(`DEMO_SECONDS must be a number from 1 to 3600, not "${text}"`);
}

async function traffic(order: TrafficOrder): Promise<TrafficReport> {
  const child = fork(TRAFFIC, { signal: interrupted.signal, killSignal: 'SIGKILL' });
  child.on('error', () => undefined);
  const exited = once(child, 'exit');
  child.send(order);
  const outcome = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  if (outcome === undefined) throw new Error('the traffic ended before it had a report');
  await exited;
  return outcome[0] as TrafficReport;
}

function row(tenant: TenantTraffic, before: TenantTraffic | undefined): string {
  const { tenantId, requests, ok, limited, unavailable, other, p50Ms, p99Ms } = tenant;
  const cells = [
    tenantId,
    requests,
    ok,
    limited,
    unavailable,
    other,
    p50Ms.toFixed(1),
    p99Ms.toFixed(1),
    before?.p99Ms.toFixed(1) ?? '',
  ];
  return cells.map((value, column) => cell(String(value), column)).join('');
}

function cell(text: string, column: number): string {
  const width = WIDTHS[column] ?? 0;
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
