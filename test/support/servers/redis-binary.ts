// A redis-server to run: the machine's, or, where there is none and apt-get exists, the one of the distribution's
// packages, unpacked into the project's cache. That needs neither root nor a system service, and installs nothing.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { cacheDirectory } from './project-root.js';

const execute = promisify(execFile);

export interface RedisBinary {
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  /** The first number of its version. */
  readonly major: number;
}

/** redis-server and the libraries of it that a bare system lacks; what else is missing is found by asking apt. */
const PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1'];

/** Finds or fetches a redis-server. `path` is where to look for programs. */
export async function redisBinary(path: string = process.env.PATH ?? ''): Promise<RedisBinary> {
  const installed = await findProgram('redis-server', path);
  if (installed) return describe(installed, process.env);

  const cached = join(cacheDirectory, 'redis');
  if (!(await exists(join(cached, 'usr/bin/redis-server')))) await unpackPackages(cached);
  const libraries = (await readdir(cached, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.name.includes('.so.'))
    .map((entry) => entry.parentPath);
  return describe(join(cached, 'usr/bin/redis-server'), {
    ...process.env,
    LD_LIBRARY_PATH: [...new Set(libraries)].join(delimiter),
  });
}

async function describe(file: string, env: NodeJS.ProcessEnv): Promise<RedisBinary> {
  const { stdout } = await execute(file, ['--version'], { env });
  const version = /v=(\d+)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${file} --version says nothing that a redis-server says: ${stdout}`);
  return { file, env, major: Number(version) };
}

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    if (folder !== '' && (await exists(join(folder, name)))) return join(folder, name);
  }
  return undefined;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Downloads and unpacks to `target`, which appears complete or not at all, also when two processes do this at once. */
async function unpackPackages(target: string): Promise<void> {
  await mkdir(cacheDirectory, { recursive: true });
  const work = await mkdtemp(join(cacheDirectory, 'redis-download-'));
  try {
    const apt = await aptGet(work);
    const missing = await missingLibraries(apt);
    const debs = join(work, 'debs');
    await mkdir(debs);
    await apt.run('apt-get', ['download', ...new Set([...PACKAGES, ...missing])], debs);
    const unpacked = join(work, 'unpacked');
    for (const deb of await readdir(debs)) await execute('dpkg-deb', ['-x', join(debs, deb), unpacked]);
    await rename(unpacked, target).catch(async (error: unknown) => {
      // Another process was quicker.
      if (!(await exists(join(target, 'usr/bin/redis-server')))) throw error;
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new Error(
      'There is no redis-server on this machine, and it could not be fetched with apt-get. ' +
        'Install Redis (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis; Fedora: dnf install redis), ' +
        `or set REDIS_URL to a server that runs already. What failed: ${reason}`,
      { cause: error },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface Apt {
  run(program: 'apt-get' | 'apt-cache', args: readonly string[], cwd: string): Promise<string>;
}

/**
 * apt with the machine's package lists when they know the packages, else with fresh lists of our own (a container's
 * image comes with none; those of the machine only root could update).
 */
async function aptGet(work: string): Promise<Apt> {
  const withOptions = (options: readonly string[]): Apt => ({
    run: async (program, args, cwd) => {
      const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
      const { stdout } = await execute(program, [...options, ...args], { cwd, env, maxBuffer: 64 * 1024 * 1024 });
      return stdout;
    },
  });
  // A dry run of the download: the packages are known, and so is where they are.
  const probe = async (apt: Apt) => apt.run('apt-get', ['download', '--print-uris', ...PACKAGES], work);

  const ofMachine = withOptions([]);
  try {
    await probe(ofMachine);
    return ofMachine;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error;
  }
  const lists = join(work, 'lists');
  const cache = join(work, 'cache');
  await mkdir(join(lists, 'partial'), { recursive: true });
  await mkdir(join(cache, 'archives/partial'), { recursive: true });
  const own = withOptions([
    ...['-o', `Dir::State::lists=${lists}`],
    ...['-o', `Dir::Cache=${cache}`],
    // As root, apt would download as a user of its own, who can't write here.
    ...['-o', `APT::Sandbox::User=`],
  ]);
  await own.run('apt-get', ['update'], work);
  await probe(own);
  return own;
}

/** Libraries that the packages need and the machine has not. */
async function missingLibraries(apt: Apt): Promise<string[]> {
  const depends = await apt.run('apt-cache', ['depends', '--important', ...PACKAGES], '/');
  const needed = [...depends.matchAll(/^ {2}Depends: (lib[\w.+-]+)$/gm)].flatMap(([, name]) => name ?? []);
  const missing: string[] = [];
  for (const name of new Set(needed)) {
    const installed = await execute('dpkg-query', ['-W', '-f', '${Status}', name]).catch(() => ({ stdout: '' }));
    if (!installed.stdout.includes('install ok installed')) missing.push(name);
  }
  return missing;
}
