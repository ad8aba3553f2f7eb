/**
 * Which handlers need no tenant although they say nothing about it: those of controllers that other packages bring.
 *
 * Promise: nothing that a client sends decides, unless the application's own predicate looks at it; and what can't be
 * decided isn't exempt.
 */
import { types } from 'node:util';

import type { ExecutionContext } from '@nestjs/common';

import { describeError } from '../engine/redact.js';
import { PoolConfigError } from '../errors.js';
import { typeName } from '../options/option-problems.js';
import { property } from './execution-arguments.js';
import { type RoutePattern, routePattern } from './route-path.js';
import type { TenantExemptOptions } from './tenancy.options.js';

export class TenantExemption {
  readonly #patterns: readonly RoutePattern[];
  readonly #controllers: ReadonlySet<unknown>;
  readonly #when: TenantExemptOptions['when'];
  /** The paths of routes that were met: as many as the application has routes. */
  readonly #knownPaths = new Map<string, boolean>();

  constructor({ paths = [], controllers = [], when }: TenantExemptOptions = {}) {
    this.#patterns = paths.map(routePattern);
    this.#controllers = new Set(controllers);
    this.#when = when;
  }

  /**
   * Whether what was called needs no tenant.
   *
   * @throws {PoolConfigError} where the application's predicate throws, or answers neither true nor false.
   */
  covers(context: ExecutionContext): boolean {
    return (
      this.#controllers.has(context.getClass()) ||
      (this.#patterns.length > 0 && this.#coversRouteOf(context)) ||
      (this.#when !== undefined && isTrue(this.#when, context))
    );
  }

  #coversRouteOf(context: ExecutionContext): boolean {
    const path = routePathOf(context);
    if (path === undefined) return false;
    let covered = this.#knownPaths.get(path);
    if (covered === undefined) {
      covered = this.#patterns.some((covers) => covers(path));
      this.#knownPaths.set(path, covered);
    }
    return covered;
  }
}

/**
 * The path of the route that the framework chose, as it was declared: with the global prefix, the version, and the
 * names of its parameters. Undefined where there is none, or where the framework doesn't tell.
 */
function routePathOf(context: ExecutionContext): string | undefined {
  if (context.getType<string>() !== 'http') return undefined;
  const request = context.getArgByIndex<unknown>(0);
  const path = property(property(request, 'routeOptions'), 'url') ?? property(property(request, 'route'), 'path');
  return typeof path === 'string' ? path : undefined;
}

function isTrue(when: (context: ExecutionContext) => unknown, context: ExecutionContext): boolean {
  let answer: unknown;
  try {
    answer = when(context);
  } catch (error) {
    throw refusal(`threw ${describeError(error)}`, error);
  }
  if (typeof answer === 'boolean') return answer;
  if (!types.isPromise(answer)) throw refusal(`must return true or false, got ${typeName(answer)}`);
  // What becomes of it is of no interest any more, and an unhandled rejection would end the process.
  answer.catch(() => {});
  throw refusal('must return true or false at once, got a promise: look up beforehand what it needs to know');
}

function refusal(rule: string, cause?: unknown): PoolConfigError {
  return new PoolConfigError([{ key: 'tenancy.exempt.when', rule }], { cause });
}
