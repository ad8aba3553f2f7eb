/**
 * Are the types wrong? Asks `attw` of the package as it would be published, from what was last built: whether each way
 * to resolve it (node10, node16 from CommonJS and from ES modules, bundlers) finds declarations that say what is
 * loaded. No rule is left out.
 *
 * Usage: node scripts/attw.mjs
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run } from './commands.mjs';
import { pack } from './packed.mjs';

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-pool-manager-attw-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const attw = fileURLToPath(new URL('../node_modules/@arethetypeswrong/cli/dist/index.js', import.meta.url));
const tarball = await pack(folder, '--ignore-scripts');
console.log(await run(folder, process.execPath, [attw, tarball, '--no-emoji', '--no-color']));
