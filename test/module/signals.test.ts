import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { type ChildProgram, startChild } from '../support/children.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { withDatabase } from '../support/with-database.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const SERVICE = fileURLToPath(new URL('./programs/service.ts', import.meta.url));

let database: TestDatabase;
withDatabase((made) => (database = made));

async function serve(env: Readonly<Record<string, string>> = {}): Promise<{ child: ChildProgram; url: string }> {
  const child = startChild(process.execPath, ['--import', LOADER, SERVICE], {
    env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: database.url, ...env },
  });
  const [, url = ''] = await child.waitForLine(/listening on (\S+)/, { withinMs: 30_000 });
  return { child, url };
}

const get = async (url: string): Promise<number | 'cut'> => {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 'cut';
  }
};

describe('a process that is told to end', () => {
  it('finishes the work in flight and ends with the signal (143 for a shell), which is what Nest does by default', async () => {
    const { child, url } = await serve();
    await using _ = { [Symbol.asyncDispose]: () => child.stop() };
    const work = get(`${url}/work`);
    await child.waitForLine(/working/);
    child.signal('SIGTERM');
    await expect(work).resolves.toBe(200);
    await expect(child.exited).resolves.toEqual({ code: null, signal: 'SIGTERM' });
    expect(child.output()).toMatch(/Pools closed in \d+ ms\./);
    await eventually(async () =>
      expect(
        await database.query(
          `select 1 from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()`,
        ),
      ).toEqual([]),
    );
  });

  it.each<NodeJS.Signals>(['SIGTERM', 'SIGINT'])('exits with 0 after %s with useProcessExit', async (signal) => {
    const { child } = await serve({ USE_PROCESS_EXIT: '1' });
    await using _ = { [Symbol.asyncDispose]: () => child.stop() };
    child.signal(signal);
    await expect(child.exited).resolves.toEqual({ code: 0, signal: null });
    expect(child.output()).toMatch(/Pools closed in \d+ ms\./);
  });

  it('ends by the deadline although a handler hangs with a lease, and says who held it', async () => {
    const { child, url } = await serve({ USE_PROCESS_EXIT: '1' });
    await using _ = { [Symbol.asyncDispose]: () => child.stop() };
    const hung = get(`${url}/hung`);
    await child.waitForLine(/hanging/);
    child.signal('SIGTERM');
    // Impatient operators press Ctrl-C as well.
    child.signal('SIGINT');
    await expect(hung).resolves.toBe('cut');
    await expect(child.exited).resolves.toEqual({ code: 0, signal: null });
    expect(child.output()).toMatch(/1 lease cut \(held by no tenant for \d+ ms\)/);
  });
});
