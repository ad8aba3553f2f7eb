/**
 * Health routes that the application has already: of two routes with one path Express asks the first that it was told
 * of, and Fastify doesn't start.
 */
import type ts from 'typescript';

import { classes, decorator, mentions, property } from '../project/nest-syntax.js';
import { isTest, type Project } from '../project/project.js';
import type { Review } from '../project/review.js';
import type { CodeFile } from '../text/code-file.js';
import { localName } from '../text/imports.js';

const PATHS = new Set(['health', 'health/live', 'health/ready']);

/** Whether `PoolHealthModule` may have its paths; where it may not, the review says what to do. */
export function hasFreeHealthPaths(project: Project, review: Review): boolean {
  for (const file of project.sources()) {
    if (isTest(file)) continue;
    // Its paths are the user's choice by now.
    if (mentions(file, 'PoolHealthModule') !== undefined) return true;
  }
  for (const file of project.sources()) {
    if (isTest(file)) continue;
    const taken = healthRoute(file);
    if (taken === undefined) continue;
    const text =
      `the application has health routes here: import PoolHealthModule.register({ path: '…' }), or with all, ready and ` +
      'live false to ask its PoolHealthIndicator here; it needs @nestjs/terminus';
    review.open(file.at(taken), text);
    return false;
  }
  return true;
}

function healthRoute(file: CodeFile): ts.Node | undefined {
  const { compiler } = file;
  const [controller, get] = ['Controller', 'Get'].map((name) => localName(file, name, '@nestjs/common'));
  if (controller === undefined || get === undefined) return undefined;
  for (const found of classes(file)) {
    const base = decorator(file, found, controller);
    if (base === undefined) continue;
    for (const member of found.members) {
      const route = compiler.isMethodDeclaration(member) ? decorator(file, member, get) : undefined;
      if (route !== undefined && PATHS.has(joined(pathOf(file, base), pathOf(file, route)))) return route;
    }
  }
  return undefined;
}

/** The path of a decorator, as `Controller('health')` and `Controller({ path: 'health' })`; '' for any other. */
function pathOf(file: CodeFile, { arguments: [argument] }: ts.CallExpression): string {
  const { compiler } = file;
  const path =
    argument !== undefined && compiler.isObjectLiteralExpression(argument)
      ? property(file, argument, 'path')?.initializer
      : argument;
  return path !== undefined && compiler.isStringLiteralLike(path) ? path.text : '';
}

function joined(...paths: readonly string[]): string {
  return paths
    .map((path) => path.replace(/^\/+|\/+$/g, ''))
    .filter((path) => path !== '')
    .join('/');
}
