/**
 * `.env.example`: the environment variables that the pools read, with values to replace.
 */
import type { Tree } from '@angular-devkit/schematics';

import type { Review } from '../project/review.js';
import type { Kind } from './nest-add.options.js';

/** What each kind reads; the first two by themselves, the last as nest-add writes it. */
export const VARIABLES: Readonly<Record<Kind, { readonly name: string; readonly example: string }>> = {
  postgres: { name: 'DATABASE_URL', example: 'postgres://user:password@localhost:5432/app' },
  redis: { name: 'REDIS_URL', example: 'redis://localhost:6379' },
  http: { name: 'API_URL', example: 'https://api.example.com' },
};

const PATH = '/.env.example';

export function writeEnvExample(tree: Tree, kinds: readonly Kind[], review: Review): void {
  const present = tree.exists(PATH) ? (tree.read(PATH)?.toString('utf8') ?? '') : undefined;
  const missing = kinds
    .map((kind) => VARIABLES[kind])
    .filter(({ name }) => !new RegExp(`^\\s*(?:export\\s+)?#?\\s*${name}\\s*=`, 'm').test(present ?? ''));
  if (missing.length === 0) return;
  const lineEnd = present?.includes('\r\n') ? '\r\n' : '\n';
  const lines = missing.map(({ name, example }) => `${name}=${example}${lineEnd}`).join('');
  if (present === undefined) tree.create(PATH, lines);
  else tree.overwrite(PATH, present + (present === '' || present.endsWith('\n') ? '' : lineEnd) + lines);
  review.done(`.env.example: ${missing.map(({ name }) => name).join(', ')}`);
}
