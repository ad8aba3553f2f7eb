/**
 * When Nest calls the shutdown hooks of a registration, in any order of an application's imports.
 *
 * Nest calls `onModuleDestroy` of every module, one module after the other, then `beforeApplicationShutdown` of every
 * module, closes its servers, and calls `onApplicationShutdown` of every module. In each round it goes by
 * `module.distance`, the nearest to the root first, and each module's hooks have settled before the next one's begin.
 * Global modules share one distance, where the order of imports decides: a queue's module that was imported before the
 * pools would lose its connections before its own hook has run (start is the reverse order).
 *
 * So the two modules of a registration get a place outside all others: one before the first, which learns that the end
 * has begun, and one after the last, which closes the pools. Nest sorts the modules when it calls the first hook of
 * all; providers exist before that.
 */
import type { InjectionToken } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';

/** Shutdown hooks of the module that provides `token` come before those of any other module; its start hooks after. */
export function endFirst(modules: ModulesContainer, token: InjectionToken): void {
  place(modules, token, -Infinity);
}

/**
 * Shutdown hooks of the module that provides `token` come after those of every other module; its start hooks before.
 */
export function endLast(modules: ModulesContainer, token: InjectionToken): void {
  place(modules, token, Infinity);
}

function place(modules: ModulesContainer, token: InjectionToken, distance: number): void {
  for (const module of modules.values()) if (module.providers.has(token)) module.distance = distance;
}
