import { describe, expect, it } from '@jest/globals';

import { startChild } from './children.js';
import { eventually } from './eventually.js';

const node = (script: string) => startChild(process.execPath, ['-e', script]);

describe('a child program', () => {
  it('is read line by line, past lines included', async () => {
    await using child = node(`console.log('first 1'); console.error('second 2'); process.stdin.resume();`);
    expect((await child.waitForLine(/^second (\d)/))[1]).toBe('2');
    expect((await child.waitForLine(/^first (\d)/))[1]).toBe('1');
    expect(child.output().split('\n').sort()).toEqual(['first 1', 'second 2']);
  });

  it('ends with its code, or by its signal', async () => {
    expect(await node('process.exit(3)').exited).toEqual({ code: 3, signal: null });
    const child = node(`process.stdin.resume(); console.log('up')`);
    await child.waitForLine(/up/);
    child.signal('SIGTERM');
    expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('fails who waits for a line that never comes, with what it did write', async () => {
    await expect(node(`console.log('something else')`).waitForLine(/wanted/)).rejects.toThrow('something else');
    await using silent = node('process.stdin.resume()');
    await expect(silent.waitForLine(/wanted/, { withinMs: 50 })).rejects.toThrow('within 50 ms');
  });

  it('fails who waits for a program that does not exist', async () => {
    await expect(startChild('/no/such/program', []).exited).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('eventually', () => {
  it('returns what the probe returns at last', async () => {
    let looks = 0;
    expect(await eventually(() => ++looks === 3 && 'seen', { everyMs: 1 })).toBe('seen');
  });

  it('fails with the last error of the probe', async () => {
    const probe = () => {
      throw new Error('not yet');
    };
    await expect(eventually(probe, { withinMs: 5, everyMs: 1 })).rejects.toThrow('not yet');
  });
});
