/**
 * A process that runs the schematics in the devkits of Nest's CLIs, as those do: compiled, and loaded by require().
 * Jest's own require() is another.
 *
 * Messages in: { id, devkit, schematic, options, files }; out: { id, files, log, tasks } or { id, error }.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../../..', import.meta.url));
const cache = join(root, 'node_modules/.cache');
mkdirSync(cache, { recursive: true });
const compiled = mkdtempSync(join(cache, 'schematics-'));
process.on('exit', () => rmSync(compiled, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

compile();

process.on('message', (/** @type {Request} */ request) => {
  run(request).then(
    (result) => process.send?.({ id: request.id, ...result }),
    (error) => process.send?.({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});

/**
 * @typedef {object} Request
 * @property {number} id
 * @property {string} devkit the package
 * @property {string} schematic
 * @property {Record<string, unknown>} options
 * @property {Record<string, string>} files
 */

/** @param {Request} request */
async function run({ devkit, schematic, options, files }) {
  const { SchematicTestRunner, UnitTestTree } = require(`${devkit}/testing`);
  const { HostTree } = require(devkit);
  const runner = new SchematicTestRunner('nestjs-pool-manager', join(compiled, 'collection.json'));
  const tree = new UnitTestTree(new HostTree());
  for (const [path, text] of Object.entries(files)) tree.create(path, text);
  /** @type {string[]} */
  const log = [];
  runner.logger.subscribe((/** @type {{ message: string }} */ { message }) => log.push(message));
  const result = await runner.runSchematic(schematic, options, tree);
  return {
    files: Object.fromEntries(result.files.map((/** @type {string} */ path) => [path, result.readContent(path)])),
    log: log.join('\n'),
    tasks: runner.tasks,
  };
}

function compile() {
  writeFileSync(join(compiled, 'package.json'), '{ "type": "module" }');
  const source = join(root, 'schematics');
  for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = join(entry.parentPath, entry.name);
    const to = join(compiled, from.slice(source.length));
    mkdirSync(dirname(to), { recursive: true });
    if (!from.endsWith('.ts')) cpSync(from, to);
    else {
      const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(readFileSync(from, 'utf8'), { fileName: from, compilerOptions });
      writeFileSync(to.replace(/\.ts$/, '.js'), outputText);
    }
  }
}
