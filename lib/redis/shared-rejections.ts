/**
 * What the shared client doesn't do, and what to do instead.
 */
import type { Command } from 'ioredis';

import { CommandRefusedError } from '../errors.js';
import { type CommandEffect, effectOf } from './command-effects.js';

const CHECK_AND_SET = 'Watch, read and EXEC on a connection of your own: pool.use((redis) => …).';
const TRANSACTION =
  'Use the pipelined multi().….exec(), which is sent as one block, or a connection of your own: pool.use((redis) => …).';
const SUBSCRIPTION = 'Subscribe on a connection of your own: client.duplicate(), or pool.use((redis) => …).';

const INSTEAD: Readonly<Record<Exclude<CommandEffect, 'ordinary'>, string>> = {
  blocking:
    'Run it on a connection of your own: pool.use((redis) => …), or client.duplicate() for a consumer that runs for ever.',
  watch: CHECK_AND_SET,
  unwatch: CHECK_AND_SET,
  multi: TRANSACTION,
  'end of transaction': TRANSACTION,
  select:
    'Use the database that the pool is configured with, another pool, or a connection of your own: pool.use((redis) => …).',
  subscribe: SUBSCRIPTION,
  psubscribe: SUBSCRIPTION,
  ssubscribe: SUBSCRIPTION,
  unsubscribe: 'Call it on the connection that subscribed.',
  lasting: 'Run it on a connection of your own: pool.use((redis) => …), or client.duplicate().',
  ending:
    'The connection ends with the pool: call close() on the pool. Administration belongs on a connection of your own.',
};

/** Why a command can't be sent over the shared connection; `undefined`: it can. */
export function rejectionOf(poolId: string, name: string, args: readonly unknown[]): CommandRefusedError | undefined {
  const effect = effectOf(name, args);
  if (effect === 'ordinary') return undefined;
  return new CommandRefusedError(`${name.toUpperCase()} on the shared client of pool "${poolId}"`, INSTEAD[effect], {
    poolId,
  });
}

/**
 * The same within a pipeline, which is sent as one block, so that a transaction in it concerns no other caller.
 *
 * @param bare it is a MULTI that the pipeline itself won't close.
 */
export function rejectionInPipeline(poolId: string, command: Command, bare: boolean): CommandRefusedError | undefined {
  const effect = effectOf(command.name, command.args);
  if (effect === 'end of transaction' || (effect === 'multi' && !bare)) return undefined;
  return rejectionOf(poolId, command.name, command.args);
}
