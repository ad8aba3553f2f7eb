/**
 * The application of the matrix: makes every kind of call through the pools, each in a span of its own, under one APM,
 * and writes down what came of it and which spans the APM recorded.
 *
 * Usage: node main.mjs <settings as JSON>; the settings are those of `runApplication` in ../run-application.mjs.
 */
import { Calls } from './calls.mjs';
import { Journal } from './journal.mjs';

const settings = JSON.parse(process.argv[2]);
const journal = new Journal(settings.journal);

// A process with a handler that only logs lives on after an uncaught exception: what it answers then is part of the
// matrix.
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => journal.write({ entry: 'uncaught', event, stack: error?.stack ?? String(error) }));
}

// First of all: an instrumentation sees only the modules that are loaded after it.
const { start } = await import(`./apms/${settings.apm}.mjs`);
const apm = await start(settings);
const calls = new Calls(apm, journal);

await apm.run(async () => {
  for (const part of ['postgres', 'messages', 'tenants', 'redis', 'http', 'nest']) {
    const { run } = await import(`./parts/${part}.mjs`);
    await calls.part(part, (part) => run(part, settings, apm));
  }
});

const spans = await apm.spans();
for (const { call, ...carried } of calls.carried(spans)) {
  journal.write({ entry: 'carried', call, problem: apm.problemOf(carried) });
}
journal.write({ entry: 'spans', covers: apm.covers, spans });
journal.write({ entry: 'end' });
process.exit(0);
