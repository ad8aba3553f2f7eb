// Under root, PostgreSQL refuses to run: it then runs as an unprivileged user who exists already (nothing is added to
// the machine's users), and that user must be able to reach its files.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** As whom the server runs; undefined: as the current user. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Users to run as under root, in this order. */
const UNPRIVILEGED = ['postgres', 'nobody'];

/** The first of `names` that is a user of this machine. */
export async function unprivilegedUser(names: readonly string[] = UNPRIVILEGED): Promise<Owner> {
  for (const name of names) {
    try {
      const [user, group] = await Promise.all([execute('id', ['-u', name]), execute('id', ['-g', name])]);
      return { uid: Number(user.stdout), gid: Number(group.stdout) };
    } catch {
      // No such user.
    }
  }
  throw new Error(
    `PostgreSQL does not run as root, and none of the users ${names.join(', ')} exists. ` +
      'Add one (useradd --system postgres), run as an ordinary user, or set DATABASE_URL to a server that runs already.',
  );
}

/** Whether `owner` may enter `path`, a folder, and every folder above it. */
export async function isReachable(path: string, owner: Owner): Promise<boolean> {
  for (let folder = await realpath(path); ; folder = dirname(folder)) {
    const { uid, gid, mode } = await stat(folder);
    const bit = uid === owner.uid ? 0o100 : gid === owner.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** A folder for temporary directories that `owner` can reach. */
export async function temporaryFolder(owner: Owner | undefined): Promise<string> {
  const folders = [...new Set([tmpdir(), '/tmp', '/var/tmp'])];
  for (const folder of folders) {
    try {
      await access(folder, constants.W_OK);
      if (!owner || (await isReachable(folder, owner))) return await realpath(folder);
    } catch {
      // Not there, or not for us.
    }
  }
  throw new Error(
    `No folder for temporary files that this user${owner ? ` and uid ${owner.uid}` : ''} can use: tried ${folders.join(', ')}.`,
  );
}
