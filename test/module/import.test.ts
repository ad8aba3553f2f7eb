// What an application loads that imports the package, in each of its tests and scripts: none of the optional packages,
// and of each kind no more than its handle and its options.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { beforeAll, describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('../../', import.meta.url));
const hooks = ['register.mjs', 'report-loads.mjs'].flatMap((file) => ['--import', `./test/support/typescript/${file}`]);

describe('importing the package', () => {
  let packages: Set<string>;
  let own: string[];

  beforeAll(() => {
    const program = "await import('nestjs-pool-manager')";
    const { status, stdout, stderr } = spawnSync(process.execPath, [...hooks, '--input-type=module', '-e', program], {
      cwd: root,
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const urls = stdout.split('\n').flatMap((line) => /^loaded (file:.*)$/.exec(line)?.[1] ?? []);
    packages = new Set(urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []));
    own = urls.flatMap((url) => /\/lib\/(.*\.ts)$/.exec(url)?.[1] ?? []);
  }, 60_000);

  it('loads Nest, and zod beside it', () => {
    expect([...packages]).toEqual(expect.arrayContaining(['@nestjs/common', '@nestjs/core', 'zod']));
    // Those of Nest itself.
    const nests = ['@nestjs/common', '@nestjs/core', 'rxjs', 'reflect-metadata', 'tslib', 'uid', 'iterare'];
    const strangers = [...packages].filter(
      (name) => ![...nests, 'zod', 'fast-safe-stringify', 'path-to-regexp'].includes(name),
    );
    expect(strangers).toEqual([]);
  });

  it('loads no driver of a kind before its first pool', () => {
    expect(own).toEqual(expect.arrayContaining(['index.ts', 'postgres/postgres-pool.ts', 'redis/redis-pool.ts']));
    expect(
      own.filter((file) =>
        /(^|\/)(create-\w+-pool|\w+-driver|\w+-transport|shared-client|resource-pool)\.ts$/.test(file),
      ),
    ).toEqual([]);
    // 110 when this was written, of 230.
    expect(own.length).toBeLessThan(130);
  });
});
