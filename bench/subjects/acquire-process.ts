/**
 * One pool of the benchmark `acquire`, in a process of its own: `acquire-process.js NAME SIZE in-context?`.
 */
import { answer, type Figures } from '../harness/own-process.js';
import { acquireSubject } from './acquire-subjects.js';

/**
 * What is asked of a pool: so many callers, each of which acquires and releases in a loop for a while, or all at once.
 */
export type AcquireLoad =
  | { readonly kind: 'callers'; readonly callers: number; readonly durationMs: number }
  | { readonly kind: 'tryAcquire'; readonly durationMs: number }
  | { readonly kind: 'burst'; readonly waiters: number }
  | { readonly kind: 'memory'; readonly waiters: number };

/** `speed`: operations per second; `cpu`: nanoseconds of processor time an operation; `bytes`: a waiter. */
export type AcquireFigure = 'speed' | 'cpu' | 'bytes';

const [name = '', size = '', where] = process.argv.slice(2);
const subject = await acquireSubject(name, Number(size));

async function loop(callers: number, operations: number): Promise<void> {
  const each = Math.ceil(operations / callers);
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let i = 0; i < each; i++) subject.release(await subject.acquire());
    }),
  );
}

/** Operations between two looks at the clock. */
const BATCH = 10_000;

/** Goes on in batches until the time is over. @returns how many operations that were. */
async function during(durationMs: number, batch: () => Promise<void>): Promise<number> {
  const endsAt = performance.now() + durationMs;
  let operations = 0;
  for (; performance.now() < endsAt; operations += BATCH) await batch();
  return operations;
}

async function synchronousLoop(operations: number): Promise<void> {
  const { tryAcquire } = subject;
  // A pool without a synchronous acquire takes part with what it has: one caller after the other.
  if (tryAcquire === undefined) return loop(1, operations);
  for (let i = 0; i < operations; i++) subject.release(tryAcquire());
}

async function burst(waiters: number): Promise<void> {
  await Promise.all(Array.from({ length: waiters }, async () => subject.release(await subject.acquire())));
}

/** Bytes on the heap for each of so many waiters. */
async function bytesPerWaiter(waiters: number): Promise<number> {
  const held = await Promise.all(Array.from({ length: Number(size) }, () => subject.acquire()));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const waiting: Promise<unknown>[] = new Array<Promise<unknown>>(waiters);
  for (let i = 0; i < waiters; i++) waiting[i] = Promise.resolve(subject.acquire());
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / waiters;
  const served = Promise.all(waiting.map(async (acquire) => subject.release(await acquire)));
  for (const resource of held) subject.release(resource);
  await served;
  return bytes;
}

async function timed(run: () => Promise<number>): Promise<Figures<AcquireFigure>> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const operations = await run();
  const tookMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { speed: (operations * 1_000) / tookMs, cpu: ((user + system) * 1_000) / operations, bytes: Number.NaN };
}

/** Each load is warmed up: the process was asleep, and what was idle meanwhile would be pinged first. */
async function measure(load: AcquireLoad): Promise<Figures<AcquireFigure>> {
  switch (load.kind) {
    case 'callers':
      return warmAndTimed(load.durationMs, () => loop(load.callers, BATCH));
    case 'tryAcquire':
      await loop(Number(size), Number(size));
      return warmAndTimed(load.durationMs, () => synchronousLoop(BATCH));
    case 'burst':
      await loop(Number(size), Number(size));
      globalThis.gc?.();
      return timed(async () => {
        await burst(load.waiters);
        return load.waiters;
      });
    case 'memory':
      return { speed: Number.NaN, cpu: Number.NaN, bytes: await bytesPerWaiter(load.waiters) };
  }
}

async function warmAndTimed(durationMs: number, batch: () => Promise<void>): Promise<Figures<AcquireFigure>> {
  await during(durationMs / 2, batch);
  return timed(() => during(durationMs, batch));
}

answer<AcquireLoad, AcquireFigure>((load) =>
  where === 'in-context' ? subject.asTenant(() => measure(load)) : measure(load),
);
