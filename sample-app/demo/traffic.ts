/**
 * Callers of three tenants, in a process of their own: two tenants behave, one floods for the second part of the time.
 *
 * Bounded in time and in callers; every request goes to the service on this machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** What one tenant met with. */
export interface TenantTraffic {
  readonly tenantId: string;
  readonly requests: number;
  readonly ok: number;
  readonly limited: number;
  readonly unavailable: number;
  readonly other: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface TrafficReport {
  /** Before the flood. */
  readonly calm: readonly TenantTraffic[];
  /** During it. */
  readonly flood: readonly TenantTraffic[];
}

export interface TrafficOrder {
  readonly url: string;
  readonly seconds: number;
}

interface Load {
  readonly tenantId: string;
  readonly callers: number;
  /** Pause between an answer and the next request. */
  readonly pauseMs: number;
}

const CALM: readonly Load[] = [
  { tenantId: 'acme', callers: 3, pauseMs: 50 },
  { tenantId: 'globex', callers: 3, pauseMs: 50 },
  { tenantId: 'initech', callers: 3, pauseMs: 50 },
];
/**
 * Sixty callers who ignore Retry-After: five times what the whole pool could serve at once. Their pause keeps them from
 * becoming a test of how many refusals one Node process can write, which no pool can do anything about.
 */
const FLOOD: readonly Load[] = CALM.map((load) =>
  load.tenantId === 'globex' ? { ...load, callers: 60, pauseMs: 150 } : load,
);
/** Share of the time that is calm. */
const CALM_SHARE = 1 / 3;

/** All callers of a part have come after this time. */
const ARRIVE_WITHIN_MS = 500;

class Tally {
  readonly #latenciesMs: number[] = [];
  #ok = 0;
  #limited = 0;
  #unavailable = 0;
  #other = 0;

  constructor(readonly tenantId: string) {}

  count(status: number, latencyMs: number): void {
    this.#latenciesMs.push(latencyMs);
    if (status >= 200 && status < 300) this.#ok++;
    else if (status === 429) this.#limited++;
    else if (status === 503) this.#unavailable++;
    else this.#other++;
  }

  report(): TenantTraffic {
    const sorted = this.#latenciesMs.sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    return {
      tenantId: this.tenantId,
      requests: sorted.length,
      ok: this.#ok,
      limited: this.#limited,
      unavailable: this.#unavailable,
      other: this.#other,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
    };
  }
}

/** Resolves with the status, 0 where there was no answer at all. */
async function call(url: string, tenantId: string, turn: number): Promise<number> {
  const headers = { 'x-tenant-id': tenantId, 'content-type': 'application/json' };
  // Mostly reports, which hold a connection for a while; some lists, and a few new orders.
  const isOrder = turn % 20 === 0;
  const path = turn % 5 === 1 ? '/orders' : '/orders/summary';
  const body = JSON.stringify({ item: 'paper clip', quantity: 1 });
  try {
    const response = isOrder
      ? await fetch(`${url}/orders`, { method: 'POST', headers, body })
      : await fetch(`${url}${path}`, { headers });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

async function run(url: string, loads: readonly Load[], forMs: number): Promise<readonly TenantTraffic[]> {
  const untilMs = performance.now() + forMs;
  const tallies = loads.map(({ tenantId }) => new Tally(tenantId));
  const caller = async (load: Load, tally: Tally | undefined, first: number): Promise<void> => {
    // Callers come one after the other, not all in the same millisecond.
    await sleep(Math.random() * ARRIVE_WITHIN_MS);
    for (let turn = first; performance.now() < untilMs; turn++) {
      const startedAtMs = performance.now();
      const status = await call(url, load.tenantId, turn);
      tally?.count(status, performance.now() - startedAtMs);
      await sleep(load.pauseMs);
    }
  };
  await Promise.all(
    loads.flatMap((load, index) =>
      Array.from({ length: load.callers }, (_, first) => caller(load, tallies[index], first + 2)),
    ),
  );
  return tallies.map((tally) => tally.report());
}

process.once('message', ({ url, seconds }: TrafficOrder) => {
  const totalMs = seconds * 1_000;
  void (async () => {
    // Compiles code paths and fills caches, so that the calm part isn't slower than the flood.
    await run(url, CALM, Math.min(1_000, totalMs / 10));
    const calm = await run(url, CALM, totalMs * CALM_SHARE);
    const flood = await run(url, FLOOD, totalMs * (1 - CALM_SHARE));
    const report: TrafficReport = { calm, flood };
    process.send?.(report, () => process.disconnect());
  })();
});
process.once('disconnect', () => process.exit());
