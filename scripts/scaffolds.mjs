/**
 * `npm run test:scaffolds`: the packed project in new applications, as `nest new` of the registry makes them, by what
 * README.md says and nothing else.
 *
 * In each scaffold the quick start is installed, written, built, started against real servers, asked by tenant, ended
 * with SIGTERM, and tested by the scaffold's own test runner. Then other module systems, Fastify, applications with the
 * packages of one kind only, and bundles, in the same way. Every build checks all declarations (`skipLibCheck: false`).
 *
 * The time that is printed is the one from `nest new` to the first answer: `nest new`, the README's install commands,
 * the build, and the start. Where the scaffold came from node_modules/.cache, `nest new` counts with what it took when
 * it was made.
 *
 * Usage: node scripts/scaffolds.mjs [part of a run's name …]
 */
import './ensure-installed.mjs';

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { userEnvironment } from './commands.mjs';
import { pack } from './packed.mjs';
import { withBackends } from './scaffolds/backends.mjs';
import { scaffolds } from './scaffolds/matrix.mjs';
import { Project } from './scaffolds/project.mjs';
import { refusesToStart, serve } from './scaffolds/service.mjs';
import { table } from './scaffolds/table.mjs';

/** @import { Backends } from './scaffolds/backends.mjs' */
/** @import { Run, Scaffold } from './scaffolds/matrix.mjs' */

/**
 * What came of one run; a step that was not reached has none.
 *
 * @typedef {object} Result
 * @property {Scaffold} scaffold
 * @property {Run} run
 * @property {'ok' | 'FAILED'} [compile]
 * @property {'ok' | 'FAILED'} [tests]
 * @property {string} [answer]
 * @property {number} [seconds] from `nest new` on, for the quick start as it is
 * @property {string} [failure]
 */

/** So many scaffolds are tried at the same time: while npm waits for one, the compiler works for another. */
const LANES = 2;

const words = process.argv.slice(2).map((word) => word.toLowerCase());
const wanted = scaffolds
  .map((scaffold) => ({ ...scaffold, runs: scaffold.runs.filter((run) => isWanted(nameOf(scaffold, run))) }))
  .filter(({ runs }) => runs.length > 0);
if (wanted.length === 0) {
  const names = scaffolds.flatMap((scaffold) => scaffold.runs.map((run) => nameOf(scaffold, run)));
  console.error(`No run is called so. They are:\n${names.join('\n')}`);
  process.exit(1);
}

const work = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-scaffolds-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const started = performance.now();
console.log('Packing the project');
const tarball = await pack(work);
const results = await withBackends(async (backends) => {
  const queue = [...wanted];
  /** @type {Result[]} */
  const all = [];
  const lane = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift())
      all.push(...(await tryOut(next, backends)));
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return all;
});

const failed = results.filter(({ failure }) => failure !== undefined);
console.log(`\n${table(results)}\n`);
console.log(`${results.length} runs in ${Math.round((performance.now() - started) / 1000)} seconds`);
if (failed.length > 0) {
  console.error(`${failed.length} of them failed: see above.`);
  process.exit(1);
}

/**
 * Makes one scaffold and tries its runs in it.
 *
 * @param {Scaffold} scaffold
 * @param {Backends} backends
 * @returns {Promise<Result[]>}
 */
async function tryOut(scaffold, backends) {
  const title = `${scaffold.name}, ${scaffold.type}`;
  console.log(`${title}: nest new, and the README's install commands`);
  let project;
  try {
    project = await Project.make(join(work, `nest-${scaffold.nest}-${scaffold.type}`), scaffold, tarball);
  } catch (error) {
    console.log(`FAILED  ${title}\n${messageOf(error)}`);
    return scaffold.runs.map((run) => ({ scaffold, run, failure: messageOf(error) }));
  }
  const made = [];
  for (const run of scaffold.runs) {
    /** @type {Result} */
    const result = { scaffold, run };
    made.push(result);
    const began = performance.now();
    await project
      .without(run.without ?? [], () => tryRun(project, run, result, backends))
      .catch((error) => {
        result.failure = messageOf(error);
      });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { failure } = result;
    console.log(`${failure === undefined ? 'ok    ' : 'FAILED'}  ${nameOf(scaffold, run)} (${seconds} s)`);
    if (failure !== undefined) console.log(failure);
  }
  return made;
}

/**
 * @param {Project} project
 * @param {Run} run
 * @param {Result} result is filled in on the way
 * @param {Backends} backends
 */
async function tryRun(project, run, result, backends) {
  const { bundle, hasHealthRoutes = true } = run;
  const began = performance.now();
  result.compile = 'FAILED';
  await project.build(run);
  result.compile = 'ok';
  const msToBuilt = performance.now() - began;
  const options = { env: userEnvironment(), hasHealthRoutes };
  if (bundle === undefined) {
    const { msToFirstAnswer } = await serve(project.folder, project.built(), backends, options);
    result.answer = '200 by tenant';
    if (isQuickStart(run)) result.seconds = (project.msToInstalled + msToBuilt + msToFirstAnswer) / 1000;
    result.tests = 'FAILED';
    await project.test();
    result.tests = 'ok';
  } else {
    const file = await project.bundle(bundle);
    if (bundle === 'missing') {
      await refusesToStart(dirname(file), file, backends, options.env);
      result.answer = 'says what is missing';
    } else {
      await serve(dirname(file), file, backends, options);
      result.answer = '200 by tenant';
    }
  }
}

/**
 * @param {Scaffold} scaffold
 * @param {Run} run
 */
function nameOf(scaffold, { application, modules, platform = 'Express', bundle }) {
  const bundled = bundle === undefined ? '' : `, bundle with drivers ${bundle}`;
  return `${scaffold.name} ${scaffold.type}: ${application}, ${modules}, ${platform}${bundled}`;
}

/**
 * Whether a run is the quick start as it is, in the scaffold as it is.
 *
 * @param {Run} run
 */
function isQuickStart({ application, tsconfig }) {
  return application === 'readme' && tsconfig === undefined;
}

/** @param {string} name */
function isWanted(name) {
  return words.length === 0 || words.some((word) => name.toLowerCase().includes(word));
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
