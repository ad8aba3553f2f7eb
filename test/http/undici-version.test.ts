// A server must not be able to end the process: the versions of undici through which one can are not used.
import { readFileSync } from 'node:fs';

import { expect, it } from '@jest/globals';

import { isSoundUndici } from '../../lib/http/undici-version.js';

interface Manifest {
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly packages: Readonly<Record<string, { readonly version?: string }>>;
}
const read = (file: string) => JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')) as Manifest;

const SOUND = ['7.0.0', '7.24.8', '7.25.0', '8.0.0', '8.2.0', '8.4.1', '8.5.0', '8.13.1'];
const UNSOUND = [
  '7.26.0',
  '7.28.0',
  '7.30.2',
  '7.31.0',
  '8.3.0',
  '8.4.0',
  '8.4.1-rc.1',
  '6.21.0',
  '9.0.0',
  'undefined',
  '',
];

it.each(SOUND)('%s is used', (version) => expect(isSoundUndici(version)).toBe(true));
it.each(UNSOUND)('%s is not', (version) => expect(isSoundUndici(version)).toBe(false));

it('an application may have any version for itself; the one of the lock file is used', () => {
  expect(read('package.json').peerDependencies.undici).toBe('*');
  expect(isSoundUndici(read('package-lock.json').packages['node_modules/undici']?.version ?? '')).toBe(true);
});
