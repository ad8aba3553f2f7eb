/**
 * Callers that make the same call in a loop, side by side, as requests of a service do; and what their calls cost.
 */
import { quantile } from './statistics.js';

/** So many callers, for so long, or for so many calls in all. */
export interface CallerLoad {
  readonly callers: number;
  readonly durationMs?: number;
  readonly calls?: number;
}

/** Calls per second, milliseconds, and microseconds of processor time a call. */
export interface CallFigures {
  readonly throughput: number;
  readonly p99: number;
  readonly mean: number;
  readonly CPU: number;
}

/** Share of a measurement that comes before it: the process was asleep. */
const WARM_UP = 0.2;

/**
 * Measures `call`, after a while in which it only warms up, where a duration is given.
 *
 * @param call `turn` differs from call to call, and from caller to caller.
 * @param isCounted whether a call of that turn is a part of the figures.
 */
export async function measureCalls(
  load: CallerLoad,
  call: (turn: number) => Promise<unknown>,
  isCounted: (turn: number) => boolean = () => true,
): Promise<CallFigures> {
  const { durationMs } = load;
  if (durationMs !== undefined) await latenciesOf({ ...load, durationMs: durationMs * WARM_UP }, call, isCounted);
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const latenciesMs = await latenciesOf(load, call, isCounted);
  const tookMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  const count = latenciesMs.length;
  return {
    throughput: (count * 1_000) / tookMs,
    p99: quantile(latenciesMs, 0.99),
    mean: latenciesMs.reduce((sum, ms) => sum + ms, 0) / count,
    CPU: (user + system) / count,
  };
}

/** How long each counted call took, in milliseconds. */
async function latenciesOf(
  { callers, durationMs = Infinity, calls = Infinity }: CallerLoad,
  call: (turn: number) => Promise<unknown>,
  isCounted: (turn: number) => boolean,
): Promise<number[]> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + durationMs;
  let left = calls;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      // Each begins elsewhere, so that all turns take part.
      for (let sentAt = startedAt, turn = caller * 97; sentAt < endsAt && left-- > 0; turn++) {
        await call(turn);
        const now = performance.now();
        if (isCounted(turn)) latenciesMs.push(now - sentAt);
        sentAt = now;
      }
    }),
  );
  return latenciesMs;
}
