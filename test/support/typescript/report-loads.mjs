/**
 * Makes a child process of a test print what it loads, a line `loaded <URL>` for each module: `node --import
 * ./test/support/typescript/report-loads.mjs …`.
 */
import { writeSync } from 'node:fs';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

// Node runs hooks in a thread of their own, which loads this file once more.
if (isMainThread) register(import.meta.url);

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  writeSync(1, `loaded ${url}\n`);
  return nextLoad(url, context);
}
