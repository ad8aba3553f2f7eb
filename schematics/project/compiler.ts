/**
 * The TypeScript compiler that reads the user's code: the project's own, else the one that Nest's CLI builds with.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';

import type { Compiler } from '../text/code-file.js';

/** @throws Error where there is no TypeScript with a compiler API, which 7.0 has no more. */
export function findCompiler(): Compiler {
  // The program that runs is in the CLI's own tree.
  const places = [join(process.cwd(), 'package.json'), process.argv[1], import.meta.url];
  const found = places.map((place) => (place === undefined ? undefined : load(place)));
  const compiler = found.find(isCompiler);
  if (compiler !== undefined) return compiler;
  throw new Error(
    found.every((candidate) => candidate === undefined)
      ? 'TypeScript was not found in this project: npm install --save-dev typescript@6'
      : 'The TypeScript of this project can only compile, and this must read its code: npm install --save-dev typescript@6',
  );
}

function load(from: string): unknown {
  try {
    return createRequire(from)('typescript');
  } catch {
    return undefined;
  }
}

function isCompiler(candidate: unknown): candidate is Compiler {
  return typeof candidate === 'object' && candidate !== null && 'createSourceFile' in candidate;
}
