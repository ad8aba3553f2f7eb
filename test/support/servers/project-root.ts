// Where the repository is, from its sources as well as from code compiled to dist/.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root: the nearest folder above this file that holds `test/support/servers/supervisor.mjs`. */
export const projectRoot: string = (() => {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test/support/servers/supervisor.mjs'))) return folder;
    if (folder === dirname(folder)) throw new Error(`No repository of nestjs-pool-manager above ${start}.`);
  }
})();

/** The project's own cache: may be deleted at any time. */
export const cacheDirectory: string = join(projectRoot, 'node_modules/.cache/nestjs-pool-manager');
