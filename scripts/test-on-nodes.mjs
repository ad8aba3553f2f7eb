/**
 * `npm run test:nodes`: the whole suite on the other versions of Node that the package supports, one after the other.
 *
 * Usage: node scripts/test-on-nodes.mjs [argument of Jest …]; `NODE_VERSIONS` (majors, by default `22 24`) says which,
 * none where it is empty. What they need is installed for the Node that runs this script: nothing that is compiled
 * depends on its version.
 */
import './ensure-installed.mjs';

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { environmentOf, nodeBinary, nodeVersions } from './node-versions.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const named = (process.env.NODE_VERSIONS ?? '22 24').split(/[ ,]+/).filter((major) => major !== '');
const majors = /** @type {const} */ ([20, 22, 24]);
const wanted = majors.filter((major) => named.includes(String(major)));
if (wanted.length < named.length) {
  console.error(`NODE_VERSIONS may name ${majors.join(', ')}, each once; it is "${named.join(' ')}".`);
  process.exit(1);
}

const failed = [];
for (const major of wanted) {
  const node = await nodeBinary(major);
  console.log(`\n── Node ${nodeVersions[major]}`);
  const { status } = spawnSync(
    node,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      'node_modules/jest/bin/jest.js',
      ...process.argv.slice(2),
    ],
    { cwd: root, stdio: 'inherit', env: environmentOf(node) },
  );
  if (status !== 0) failed.push(major);
}
if (failed.length > 0) {
  console.error(`Failed on Node ${failed.join(' and ')}.`);
  process.exit(1);
}
