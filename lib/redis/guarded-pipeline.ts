/**
 * Pipelines whose callbacks can't disturb the connection: as those of single commands, what they throw is logged.
 *
 * A pipeline's methods are those of the class, so they are replaced for all pipelines of ioredis at once, on a
 * prototype of its own: to wrap some five hundred methods of each pipeline would cost more than its commands.
 */
import type { Pipeline } from 'ioredis';

import { guardingCallback, isFunction, type ReportThrown } from './caller-code.js';
import { commandMethods, type IoredisModule } from './redis-client.js';

const prototypes = new WeakMap<object, object>();
const reports = new WeakMap<object, ReportThrown>();

/** Has the callbacks of `pipeline` guarded from now on. */
export function guardPipeline(pipeline: Pipeline, ioredis: IoredisModule, report: ReportThrown): void {
  reports.set(pipeline, report);
  Reflect.setPrototypeOf(pipeline, prototypeFor(ioredis));
}

function prototypeFor(ioredis: IoredisModule): object {
  const { prototype } = ioredis.Pipeline;
  const known = prototypes.get(prototype);
  if (known !== undefined) return known;
  const guarding = {};
  Reflect.setPrototypeOf(guarding, prototype);
  for (const name of commandMethods(ioredis)) {
    const method: unknown = Reflect.get(prototype, name);
    // exec() has a callback of its own kind, and is guarded where it is gated.
    if (name === 'exec' || !isFunction(method)) continue;
    const guarded = guardingCallback(method, (pipeline) => reports.get(pipeline));
    Object.defineProperty(guarding, name, { value: guarded, writable: true, configurable: true });
  }
  prototypes.set(prototype, guarding);
  return guarding;
}
