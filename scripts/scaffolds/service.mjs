/** One start of an application: it must serve each tenant its own orders, say that it is well, and end by itself. */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { endGroup, start } from '../commands.mjs';
import { freePort } from '../shared-servers.mjs';

/** @import { Backends } from './backends.mjs' */

/** How long an application may take to its first answer, and to its end after SIGTERM. */
const ANSWERS_WITHIN_MS = 60_000;
const ENDS_WITHIN_MS = 30_000;

/** What an application says that lacks the package of a kind. */
const MISSING = /needs the package "[\w@/-]+", which could not be loaded/;

/**
 * Starts the application and asks it.
 *
 * @param {string} cwd
 * @param {string} program what Node runs
 * @param {Backends} backends
 * @param {{ env: NodeJS.ProcessEnv, hasHealthRoutes: boolean }} options
 * @returns {Promise<{ readonly msToFirstAnswer: number, readonly output: string }>}
 */
export async function serve(cwd, program, backends, { env, hasHealthRoutes }) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const started = performance.now();
  const command = start(cwd, process.execPath, [program], { ...env, ...backends.env, PORT: String(port) });
  let end = '';
  command.ended.then((how) => (end = how)).catch((/** @type {Error} */ error) => (end = error.message));
  try {
    let msToFirstAnswer;
    for (const [tenant, orders] of backends.orders) {
      const answer = await answerOf(`${url}/orders`, tenant, () => end);
      msToFirstAnswer ??= performance.now() - started;
      expectOrders(answer, tenant, orders);
    }
    if (msToFirstAnswer === undefined) throw new Error('The quick start has no orders.');
    expectStatus(await get(`${url}/orders`), 400, 'A request without a tenant');
    expectStatus(await get(`${url}/health`), hasHealthRoutes ? 200 : 404, '/health');
    command.child.kill('SIGTERM');
    await Promise.race([command.ended, delay(ENDS_WITHIN_MS, undefined, { ref: false })]);
    if (end !== 'exit code 0') throw new Error(`After SIGTERM: ${end || `still there after ${ENDS_WITHIN_MS} ms`}`);
    return { msToFirstAnswer, output: command.output() };
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(`${what}\nIt printed:\n${command.output().trim().slice(-4_000)}`, { cause: error });
  } finally {
    endGroup(command.child);
  }
}

/**
 * Starts an application that lacks a package of its pools: it must end, and say which.
 *
 * @param {string} cwd
 * @param {string} program what Node runs
 * @param {Backends} backends
 * @param {NodeJS.ProcessEnv} env
 */
export async function refusesToStart(cwd, program, backends, env) {
  const command = start(cwd, process.execPath, [program], { ...env, ...backends.env, PORT: '0' });
  try {
    const late = delay(ANSWERS_WITHIN_MS, 'still there', { ref: false });
    const end = await Promise.race([command.ended, late]);
    if (end === 'exit code 1' && MISSING.test(command.output())) return;
    throw new Error(`Without its packages: ${end}\nIt printed:\n${command.output().trim().slice(-4_000)}`);
  } finally {
    endGroup(command.child);
  }
}

/**
 * Asks until there is an answer.
 *
 * @param {string} url
 * @param {string} tenant
 * @param {() => string} end how the application has ended, if it has
 */
async function answerOf(url, tenant, end) {
  const deadline = performance.now() + ANSWERS_WITHIN_MS;
  for (;;) {
    try {
      return await get(url, tenant);
    } catch (error) {
      if (end() !== '') throw new Error(`It ended with ${end()}.`, { cause: error });
      if (performance.now() > deadline) throw new Error('It does not answer.', { cause: error });
      await delay(20);
    }
  }
}

/**
 * @typedef {{ readonly status: number, readonly body: string }} Answer
 *
 * @param {string} url
 * @param {string} [tenant]
 * @returns {Promise<Answer>}
 */
async function get(url, tenant) {
  const response = await fetch(url, tenant === undefined ? {} : { headers: { 'x-tenant-id': tenant } });
  return { status: response.status, body: await response.text() };
}

/**
 * @param {Answer} answer
 * @param {string} tenant
 * @param {readonly unknown[]} orders
 */
function expectOrders(answer, tenant, orders) {
  expectStatus(answer, 200, `A request of ${tenant}`);
  if (isDeepStrictEqual(JSON.parse(answer.body), orders)) return;
  throw new Error(`A request of ${tenant} was answered ${answer.body}, not ${JSON.stringify(orders)}`);
}

/**
 * @param {Answer} answer
 * @param {number} status
 * @param {string} what
 */
function expectStatus(answer, status, what) {
  if (answer.status !== status) throw new Error(`${what} was answered ${answer.status}, not ${status}: ${answer.body}`);
}
