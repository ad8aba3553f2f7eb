import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';

import { afterEach, describe, expect, it } from '@jest/globals';

import { type ChildProgram, startChild } from './children.js';
import { eventually } from './eventually.js';
import { freePort, startUnansweredPort } from './servers/index.js';

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('servers of a program that ends', () => {
  let program: ChildProgram | undefined;

  afterEach(() => program?.stop());

  async function owner(): Promise<{ child: ChildProgram; pids: number[]; directories: string[] }> {
    const loader = './test/support/typescript/register.mjs';
    const child = startChild(process.execPath, ['--import', loader, 'test/support/programs/server-owner.ts'], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    program = child;
    const [, owned = ''] = await child.waitForLine(/^owns (.*)$/, { withinMs: 60_000 });
    return { child, ...(JSON.parse(owned) as { pids: number[]; directories: string[] }) };
  }

  it.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
    'are gone, with their directories, after its %s',
    async (signal) => {
      const { child, pids, directories } = await owner();
      expect(pids.every(isRunning)).toBe(true);
      expect(directories.every((path) => existsSync(path))).toBe(true);
      child.signal(signal);
      expect(await child.exited).toEqual({ code: null, signal });
      await eventually(() => !pids.some(isRunning) && !directories.some((path) => existsSync(path)), {
        withinMs: 15_000,
      });
    },
  );

  it('are gone even when their supervisors are killed', async () => {
    if (process.platform !== 'linux') return;
    const { child, pids, directories } = await owner();
    const supervisors = childrenOf(child.pid);
    expect(supervisors).not.toEqual([]);
    for (const pid of supervisors) process.kill(pid, 'SIGKILL');
    await eventually(() => !pids.some(isRunning) && !directories.some((path) => existsSync(path)), {
      withinMs: 15_000,
    });
  });
});

/** The processes that `pid` has started. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((entry) => {
      try {
        return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(readFileSync(`/proc/${entry}/status`, 'utf8'));
      } catch {
        return false;
      }
    });
}

describe('a port that answers nothing', () => {
  it('lets connection attempts wait, and is gone when closed', async () => {
    const port = await startUnansweredPort();
    const socket = connect({ host: port.host, port: port.port, timeout: 200 });
    const first = await new Promise((resolve) => {
      for (const event of ['connect', 'error', 'timeout']) socket.once(event, () => resolve(event));
    });
    expect(first).toBe('timeout');
    socket.destroy();
    await port.close();
    const refused = connect({ host: port.host, port: port.port });
    const error = await new Promise((resolve) => refused.once('error', resolve));
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('a free port', () => {
  it('is not one that outgoing connections are given', async () => {
    expect(await freePort()).toBeLessThan(32_768);
  });
});
