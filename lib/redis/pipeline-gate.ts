/**
 * Gates a pipeline as a whole.
 *
 * Promise: a pipeline with a command that is refused sends nothing. ioredis writes a pipeline only when each of its
 * commands has asked to be written, so one that is refused on the way would leave the others waiting for ever: it is
 * refused before anything is sent.
 */
import type { Command, Pipeline } from 'ioredis';

import { guardedCallback, isFunction, type ReportThrown, told } from './caller-code.js';
import { isSendable } from './redis-client.js';

export interface PipelineGate {
  /** Why a command can't be part of a pipeline; `bare`: a MULTI that nothing would close. */
  rejectionInPipeline(command: Command, bare: boolean): Error | undefined;
  /** Why a pipeline of this many commands can't be sent now. */
  rejectionOfPipeline(length: number): Error | undefined;
}

/** Has `gate` decide over `pipeline` from now on. */
export function gatePipeline(pipeline: Pipeline, gate: PipelineGate, report: ReportThrown): void {
  const queue = pipeline.sendCommand.bind(pipeline);
  const begin: unknown = Reflect.get(pipeline, 'multi');
  const execute: unknown = Reflect.get(pipeline, 'exec');
  if (!isFunction(begin) || !isFunction(execute)) return;
  let rejection: Error | undefined;
  let beginning = false;
  // Blocks begun by pipeline.multi(): the exec() that belongs to each only queues EXEC.
  let open = 0;

  pipeline.sendCommand = (command) => {
    rejection ??= isSendable(command) ? gate.rejectionInPipeline(command, !beginning) : unsendable(command);
    return queue(command);
  };
  Object.defineProperty(pipeline, 'multi', {
    value: (...args: readonly unknown[]): unknown => {
      beginning = true;
      open++;
      try {
        return Reflect.apply(begin, pipeline, args);
      } finally {
        beginning = false;
      }
    },
  });
  Object.defineProperty(pipeline, 'exec', {
    writable: true,
    value: (...args: readonly unknown[]): unknown => {
      if (open > 0) {
        open--;
        return Reflect.apply(execute, pipeline, args);
      }
      const refused = rejection ?? gate.rejectionOfPipeline(pipeline.length);
      if (refused !== undefined) return told(Promise.reject(refused), args[0], report);
      const [callback] = args;
      return Reflect.apply(execute, pipeline, [
        isFunction(callback) ? guardedCallback(callback, 'a callback of exec()', report) : callback,
      ]);
    },
  });
}

function unsendable(command: Command): Error {
  return new TypeError(`The arguments of ${command.name.toUpperCase()} can't be sent: turning them into text threw.`);
}
