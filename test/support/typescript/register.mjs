/**
 * Lets a child process of a test run TypeScript sources: `node --import ./test/support/typescript/register.mjs
 * program.ts`.
 *
 * The library is compiled as it is for Jest: without decorator metadata, programs of tests with it.
 */
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
