// The packages behind an HTTP pool are optional: what is missing is named, and undici may fail to load.
import { expect, it, jest } from '@jest/globals';

import { MissingDriverError } from '../../lib/errors.js';
import { startHttpServer } from '../support/servers/index.js';
import { httpPool } from './support/http-pools.js';

const missing = (name: string) => () => {
  throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' });
};

it.each(['axios', '@nestjs/axios'])('without %s the error names the pool and the package', async (name) => {
  await jest.isolateModulesAsync(async () => {
    jest.unstable_mockModule(name, missing(name));
    const error: unknown = await httpPool().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(MissingDriverError);
    expect(error).toMatchObject({ packageName: name, poolId: 'billing' });
    expect(String(error)).toContain(`npm install ${name}`);
  });
  jest.unstable_unmockModule(name);
});

it("an undici that doesn't run on this Node is reported, and done without", async () => {
  await using server = await startHttpServer();
  await jest.isolateModulesAsync(async () => {
    jest.unstable_mockModule('undici', () => {
      throw new TypeError('styleText is not a function');
    });
    await using made = await httpPool({ baseURL: server.url });
    expect(made.log.join('\n')).toContain('works without undici');
    expect((await made.pool.axiosRef.get('/echo')).status).toBe(200);
  });
  jest.unstable_unmockModule('undici');
});

it('an undici through which a server could end the process is done without, and said once', async () => {
  await using server = await startHttpServer();
  await jest.isolateModulesAsync(async () => {
    jest.unstable_mockModule('../../lib/http/undici-version.js', () => ({
      isSoundUndici: () => false,
      SOUND_UNDICI: 'another',
    }));
    const { loadHttpPackages } = await import('../../lib/http/http-packages.js');
    const log: string[] = [];
    const logger = { warn: (message: string) => void log.push(message) };
    for (const id of ['a', 'b']) expect((await loadHttpPackages(id, logger)).undici).toBeUndefined();
    expect(log).toEqual([expect.stringContaining('install another')]);
  });
  jest.unstable_unmockModule('../../lib/http/undici-version.js');
  await using made = await httpPool({ baseURL: server.url });
  expect((await made.pool.axiosRef.get('/echo')).status).toBe(200);
});
