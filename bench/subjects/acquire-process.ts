/**
 * One pool of the benchmark `acquire`, in a process of its own: `acquire-process.js NAME SIZE in-context?`.
 */
import { answer, type Figures } from '../harness/own-process.js';
import { acquireSubject } from './acquire-subjects.js';

/** What is asked of a pool: so many callers, each of which acquires and releases in a loop, or all at once. */
export type AcquireLoad =
  | { readonly kind: 'callers'; readonly callers: number; readonly operations: number }
  | { readonly kind: 'tryAcquire'; readonly operations: number }
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

async function timed(operations: number, run: () => Promise<void>): Promise<Figures<AcquireFigure>> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  await run();
  const tookMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { speed: (operations * 1_000) / tookMs, cpu: ((user + system) * 1_000) / operations, bytes: Number.NaN };
}

/** Each load is warmed up: the process was asleep, and what was idle meanwhile would be pinged first. */
async function measure(load: AcquireLoad): Promise<Figures<AcquireFigure>> {
  switch (load.kind) {
    case 'callers':
      await loop(load.callers, load.operations / 2);
      return timed(load.operations, () => loop(load.callers, load.operations));
    case 'tryAcquire':
      await loop(Number(size), Number(size));
      await synchronousLoop(load.operations / 2);
      return timed(load.operations, () => synchronousLoop(load.operations));
    case 'burst':
      await loop(Number(size), Number(size));
      globalThis.gc?.();
      return timed(load.waiters, () => burst(load.waiters));
    case 'memory':
      return { speed: Number.NaN, cpu: Number.NaN, bytes: await bytesPerWaiter(load.waiters) };
  }
}

answer<AcquireLoad, AcquireFigure>((load) =>
  where === 'in-context' ? subject.asTenant(() => measure(load)) : measure(load),
);
