/** One start of an application that scripts try out: it must answer, and end by itself as an orchestrator ends it. */
import { setTimeout as delay } from 'node:timers/promises';

import { endGroup, start } from './commands.mjs';
import { freePort } from './shared-servers.mjs';

/** How long an application may take to its first answer, on a busy machine, and to its end after SIGTERM. */
export const ANSWERS_WITHIN_MS = 60_000;
const ENDS_WITHIN_MS = 30_000;

/**
 * Starts an application on a free port of its own, waits until it answers, asks it, and ends it by SIGTERM.
 *
 * @template T
 * @param {string} cwd
 * @param {readonly [node: string, program: string]} command
 * @param {NodeJS.ProcessEnv} env `PORT` comes on top
 * @param {(url: string) => Promise<T>} ask
 * @returns {Promise<{ readonly answers: T, readonly msToFirstAnswer: number }>}
 * @throws {Error} with what it printed, where it doesn't answer, `ask` throws, or it ends other than with exit code 0
 */
export async function withService(cwd, [node, program], env, ask) {
  const url = `http://127.0.0.1:${String(await freePort())}`;
  const started = performance.now();
  const command = start(cwd, node, [program], { ...env, PORT: new URL(url).port });
  let end = '';
  command.ended.then((how) => (end = how)).catch((/** @type {Error} */ error) => (end = error.message));
  try {
    await firstAnswer(url, () => end);
    const msToFirstAnswer = performance.now() - started;
    const answers = await ask(url);
    command.child.kill('SIGTERM');
    await Promise.race([command.ended, delay(ENDS_WITHIN_MS, undefined, { ref: false })]);
    if (end !== 'exit code 0') throw new Error(`After SIGTERM: ${end || `still there after ${ENDS_WITHIN_MS} ms`}`);
    return { answers, msToFirstAnswer };
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(`${what}\nIt printed:\n${command.output().trim().slice(-4_000)}`, { cause: error });
  } finally {
    endGroup(command.child);
  }
}

/**
 * Asks until there is an answer, of any status: no event of another process says that it listens.
 *
 * @param {string} url
 * @param {() => string} end how the application has ended, if it has
 */
async function firstAnswer(url, end) {
  const deadline = performance.now() + ANSWERS_WITHIN_MS;
  for (;;) {
    try {
      await (await fetch(url)).arrayBuffer();
      return;
    } catch (error) {
      if (end() !== '') throw new Error(`It ended with ${end()}.`, { cause: error });
      if (performance.now() > deadline) throw new Error('It does not answer.', { cause: error });
      await delay(20);
    }
  }
}
