/** What each application of a scaffold must do: serve each tenant its own orders, and say that it is well. */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { endGroup, start } from '../commands.mjs';
import { ANSWERS_WITHIN_MS, withService } from '../service.mjs';

/** @import { Backends } from './backends.mjs' */

/** What an application says that lacks the package of a kind. */
const MISSING = /needs the package "[\w@/-]+", which could not be loaded/;

/**
 * Starts the application and asks it.
 *
 * @param {string} cwd
 * @param {string} program what Node runs
 * @param {Backends} backends
 * @param {{ env: NodeJS.ProcessEnv, hasHealthRoutes: boolean }} options
 * @returns {Promise<{ readonly msToFirstAnswer: number }>}
 */
export function serve(cwd, program, backends, { env, hasHealthRoutes }) {
  return withService(cwd, [process.execPath, program], { ...env, ...backends.env }, async (url) => {
    for (const [tenant, orders] of backends.orders) {
      expectOrders(await get(`${url}/orders`, tenant), tenant, orders);
    }
    expectStatus(await get(`${url}/orders`), 400, 'A request without a tenant');
    expectStatus(await get(`${url}/health`), hasHealthRoutes ? 200 : 404, '/health');
  });
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
