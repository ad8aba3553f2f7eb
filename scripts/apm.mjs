/**
 * `npm run test:apm`: the packed project in processes that APMs have instrumented, with the real packages. Each run
 * makes the same calls as one without an APM and must get the same answers; and the APM must have recorded a span for
 * each statement, command and request of the caller, below the span that was active where it was made, and none for
 * what the pools do by themselves.
 *
 * Usage: node scripts/apm.mjs [--all] [part of an APM's name …]; --all prints every difference, not only the first
 * ones.
 */
import './ensure-installed.mjs';

import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { apms, control } from './apm/matrix.mjs';
import { startUpstream, withDatabases } from './apm/servers.mjs';
import { differences, failures, readRun, spanProblems, summary } from './apm/verdict.mjs';
import { run, userEnvironment } from './commands.mjs';
import { install, pack } from './packed.mjs';
import { SharedServers } from './shared-servers.mjs';

/** @import { Apm } from './apm/matrix.mjs' */
/** @import { Problem, Run } from './apm/verdict.mjs' */
/** @import { CommandError } from './commands.mjs' */

/** How long one run of the application may take; it takes some five seconds. */
const RUN_WITHIN_MS = 120_000;
/** So many kinds of differences of a run are printed. */
const PRINTED = 15;

const args = process.argv.slice(2);
const printsAll = args.includes('--all');
const names = args.filter((arg) => arg !== '--all').map((name) => name.toLowerCase());
const wanted = apms.filter(({ name }) => names.length === 0 || names.some((part) => name.toLowerCase().includes(part)));

if (wanted.length === 0) {
  console.error(
    `No APM of the matrix is called ${names.join(' or ')}. They are:\n${apms.map(({ name }) => name).join('\n')}`,
  );
  process.exit(1);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-apm-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const application = join(work, 'application');
cpSync(join(root, 'scripts/apm/application'), application, { recursive: true });
console.log('Packing the project and installing the APMs');
await install(application, await pack(work));

const servers = await SharedServers.start();
const upstream = await startUpstream();
let failed = 0;
try {
  const reference = await runApplication(control);
  const broken = failures(reference);
  if (broken.length > 0) {
    print(control.name, { results: broken, spans: [] });
    throw new Error('The calls fail without an APM: there is nothing to compare with.');
  }
  console.log(`${reference.compared.size} calls without an APM, as they must be`);
  for (const apm of wanted) {
    const made = await runApplication(apm);
    const results = differences(made, reference);
    const spans = spanProblems(made);
    print(apm.name, { results, spans });
    if (results.length + spans.length > 0) failed++;
  }
} finally {
  await upstream.stop();
  await servers.stop();
}
if (failed > 0) {
  console.error(`\nUnder ${failed} of ${wanted.length} APMs something is different.`);
  process.exit(1);
}
console.log(`\nUnder ${wanted.length} APMs everything is as without, and every span is there.`);

/**
 * Runs the application once, in a process of its own, on databases of its own.
 *
 * @param {Apm} apm
 * @returns {Promise<Run>}
 */
function runApplication({ module, options, nodeArgs = [], env = {} }) {
  return withDatabases(servers, async (databases) => {
    const journal = join(work, 'journal');
    writeFileSync(journal, '');
    const settings = { apm: module, options, journal, upstream: upstream.url, ...databases };
    const end = await run(application, process.execPath, [...nodeArgs, 'main.mjs', JSON.stringify(settings)], {
      env: { ...userEnvironment(), DD_TRACE_AGENT_URL: upstream.url, ...env },
      withinMs: RUN_WITHIN_MS,
    }).then(
      () => undefined,
      (/** @type {CommandError} */ error) => error,
    );
    const made = readRun(readFileSync(journal, 'utf8'));
    if (end === undefined) return made;
    const text = `the program ended with ${end.reason}: ${end.output.slice(-2_000)}`;
    return { ...made, complete: false, uncaught: [...made.uncaught, text] };
  });
}

/**
 * @param {string} name
 * @param {{ readonly results: readonly Problem[], readonly spans: readonly Problem[] }} problems
 */
function print(name, { results, spans }) {
  if (results.length + spans.length === 0) return void console.log(`ok      ${name}`);
  console.log(`FAILED  ${name}: ${results.length} answers and ${spans.length} spans are not as they must be`);
  for (const problems of [results, spans]) {
    const lines = printsAll ? problems.map(({ call, what }) => `${call}: ${what}`) : summary(problems);
    const shown = printsAll ? lines : lines.slice(0, PRINTED);
    for (const line of shown) console.log(`        ${line}`);
    if (shown.length < lines.length)
      console.log(`        … and ${lines.length - shown.length} more (--all prints them)`);
  }
}
