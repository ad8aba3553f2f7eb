// Optional packages in applications that are bundled into one file.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../lib', import.meta.url));

interface LoadedPackage {
  readonly name: string;
  readonly place: string;
  readonly isTried: boolean;
}

function packagesLoadedIn(path: string): LoadedPackage[] {
  const file = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true);
  const found: LoadedPackage[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments;
      const name = specifier !== undefined && ts.isStringLiteral(specifier) ? specifier.text : '';
      const line = file.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      if (!/^(?:\.|node:)/.test(name)) found.push({ name, place: `lib/${path}:${line}`, isTried: isTried(node) });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Inside a try block of the function that it is in. */
function isTried(node: ts.Node): boolean {
  for (let current = node; !ts.isSourceFile(current); current = current.parent) {
    if (ts.isFunctionLike(current)) return false;
    if (ts.isTryStatement(current.parent) && current.parent.tryBlock === current) return true;
  }
  return false;
}

describe('An optional package', () => {
  const loaded = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .flatMap(packagesLoadedIn);

  it.each([
    'pg',
    'ioredis',
    'axios',
    '@nestjs/axios',
    'undici',
    '@nestjs/terminus',
    '@nestjs/websockets',
    'prom-client',
  ])('is loaded when it is needed: %s', (name) => {
    expect(loaded.map((found) => found.name)).toContain(name);
  });

  // webpack, rspack and esbuild end with an error for any other import of what isn't installed.
  it('is loaded inside a try block, so that bundles can be made without it', () => {
    expect(loaded.filter(({ isTried }) => !isTried).map(({ name, place }) => `${place} ${name}`)).toEqual([]);
  });
});
