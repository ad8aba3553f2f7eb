/**
 * Ties a manager to the life of its application: opens the pools in `onModuleInit`, before other modules' hooks, and
 * ends them with the application, after other modules' hooks.
 *
 * Nest calls the shutdown hooks of all modules in three rounds, and between the second and the third it closes its
 * servers, which takes as long as the slowest handler. So the end begins with the very first hook, with a deadline that
 * runs meanwhile, and the pools close in the very last one: what other modules do with them in their hooks has ended by
 * then. A hook or a handler that never returns would keep Nest from getting there; the deadline cuts what is still
 * open, and closes the pools without it.
 *
 * Promises: one start and one end each, however often the hooks are called; nothing is thrown on the way down.
 */
import {
  type BeforeApplicationShutdown,
  Logger,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';

import { systemClock } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';
import { PoolConfigError } from '../errors.js';
import type { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import type { ShutdownReport } from '../manager/shutdown.js';
import type { PoolHandle } from '../pool/pool-handle.js';
import { harmlessLogger } from '../pool/pool-log.js';
import { misdeclaredPools } from './declared-pools.js';
import { endFirst, endLast } from './hook-order.js';
import {
  closeAllConnections,
  closeIdleConnections,
  IDLE_SWEEP_MS,
  isListening,
  LAST_ANSWERS_MS,
  LAST_REQUESTS_MS,
  onceClosed,
  SILENCE_MS,
  UNUSED_MS,
} from './http-connections.js';
import { KeptAliveConnections } from './kept-alive-connections.js';
import {
  getLifecycleToken,
  getRegisteredManagerToken,
  getShutdownNoticeToken,
  poolTokenOf,
} from './pool-manager.tokens.js';
import { undeclaredPoolsOfLater } from './undeclared-pools.js';

export interface PoolManagerLifecycleDependencies {
  /** The registration's name. */
  readonly name: string;
  /** The pools that have injection tokens; undefined when an asynchronous registration named none. */
  readonly poolNames: readonly string[] | undefined;
  readonly isGlobal: boolean;
  readonly manager: ConnectionPoolManager;
  readonly moduleRef: ModuleRef;
  readonly modules: ModulesContainer;
  readonly http: HttpAdapterHost;
}

/** The end, once it has begun. */
interface Ending {
  readonly report: Promise<ShutdownReport>;
  /**
   * Settles when the readiness grace is over and clients know that their connections end: then Nest may close its
   * servers.
   */
  readonly graceOver: Promise<unknown>;
  /** Says that the hooks of all other modules have settled, and that Nest has closed its servers. */
  readonly othersDone: () => void;
}

export class PoolManagerLifecycle implements OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly dependencies: PoolManagerLifecycleDependencies;
  // It logs from a timer, where an error of the application's own logger would end the process.
  private readonly logger = harmlessLogger(new Logger('PoolManager'));
  private connections = new KeptAliveConnections(undefined);
  private ending: Ending | undefined;

  constructor(dependencies: PoolManagerLifecycleDependencies) {
    this.dependencies = dependencies;
    const { modules, name } = dependencies;
    endFirst(modules, getShutdownNoticeToken(name));
    endLast(modules, getLifecycleToken(name));
  }

  async onModuleInit(): Promise<void> {
    this.refuseNamesakes();
    this.leaveOverriddenPools();
    this.refuseMisdeclaredPools();
    this.refuseUndeclaredPools();
    this.connections = new KeptAliveConnections(this.httpServer(), this.httpAdapter()?.getInstance?.());
    await this.dependencies.manager.start();
  }

  /**
   * The application has begun to end: no longer ready; the pools go on serving what is in flight, and other modules'
   * hooks.
   */
  shutdownBegins(): void {
    this.ending ??= this.end();
  }

  /** Resolves when the readiness grace is over, and clients know that their connections end. */
  async beforeApplicationShutdown(): Promise<void> {
    this.ending ??= this.end();
    await this.ending.graceOver;
  }

  async onApplicationShutdown(): Promise<void> {
    this.ending ??= this.end();
    this.ending.othersDone();
    await this.ending.report;
  }

  private end(): Ending {
    const others = new Gate();
    const grace = new Gate();
    const server = this.httpServer();
    const serverClosed = onceClosed(server);
    this.connections.tellToClose();
    const { drainTimeoutMs } = this.dependencies.manager.options.shutdown;
    const clientsTold = this.connections.toldOrSilent(SILENCE_MS, Math.min(LAST_REQUESTS_MS, drainTimeoutMs));
    const report = this.dependencies.manager.stop({
      drain: (cut) => {
        grace.open();
        this.sweepIdleConnections(server, serverClosed, cut);
        cut.addEventListener('abort', () => this.cutServer(server, serverClosed), { once: true });
        return others.opened;
      },
    });
    void report.then(() => this.connections.stop());
    // The application may have stopped the manager before, in a way of its own: then there is no grace to wait for but
    // that end.
    const graceOver = Promise.all([Promise.race([grace.opened, report]), clientsTold]);
    return { report, graceOver, othersDone: () => others.open() };
  }

  /** From the moment that Nest closes its server until it has closed. */
  private sweepIdleConnections(server: unknown, closed: Promise<void>, cut: AbortSignal): void {
    const sweepOnce = (): void => {
      if (isListening(server)) return;
      closeIdleConnections(server);
      this.connections.closeUnused(UNUSED_MS);
    };
    const sweep = setInterval(sweepOnce, IDLE_SWEEP_MS).unref();
    void closed.then(() => clearInterval(sweep));
    cut.addEventListener('abort', () => clearInterval(sweep), { once: true });
  }

  /** The leases have been cut: handlers that waited for them answer now, and what still doesn't is hung. */
  private cutServer(server: unknown, closed: Promise<void>): void {
    const cutLast = (): void => {
      if (closeAllConnections(server)) {
        this.logger.warn('Cut the HTTP connections that were still open after the drain deadline.');
      }
    };
    const lastAnswers = setDeadline(systemClock, cutLast, LAST_ANSWERS_MS);
    lastAnswers.ref();
    void closed.then(() => lastAnswers.cancel());
  }

  private httpServer(): unknown {
    return this.httpAdapter()?.getHttpServer?.();
  }

  /** An application context without a server has a host without an adapter, although its type has one. */
  private httpAdapter(): Partial<HttpAdapterHost['httpAdapter']> | undefined {
    return this.dependencies.http.httpAdapter;
  }

  /** A manager belongs to one registration: pools of two with the same name would shadow each other, token by token. */
  private refuseNamesakes(): void {
    const { modules, name } = this.dependencies;
    const token = getRegisteredManagerToken(name);
    const registrations = [...modules.values()].filter((module) => module.providers.has(token)).length;
    if (registrations === 1) return;
    const rule =
      `must differ between the registrations of an application, but ${registrations} are called "${name}". ` +
      `Register all pools once, in the root module, or give the others a name of their own: forRoot({ name: 'reporting', … })`;
    throw new PoolConfigError([{ key: 'name', rule }]);
  }

  /** What would fail at the first call of a method that its class doesn't have. */
  private refuseMisdeclaredPools(): void {
    const { manager, modules } = this.dependencies;
    const problems = misdeclaredPools(modules, new Set(manager.table.pools()));
    if (problems.length > 0) throw new PoolConfigError(problems);
  }

  /** What would fail at the first request: classes that are made for each have asked for nothing yet. */
  private refuseUndeclaredPools(): void {
    const { manager, modules, name, poolNames, isGlobal } = this.dependencies;
    const problems = undeclaredPoolsOfLater({ manager: name, names: poolNames, isGlobal }, manager, modules);
    if (problems.length > 0) throw new PoolConfigError(problems);
  }

  /**
   * A pool whose factory has never run by now was overridden in a test: it is not opened, and the manager finds what
   * took its place.
   */
  private leaveOverriddenPools(): void {
    const { manager, moduleRef, name, poolNames = [] } = this.dependencies;
    for (const pool of poolNames.filter((id) => manager.table.isUnbuilt(id))) {
      manager.table.replace(pool, moduleRef.get<PoolHandle>(poolTokenOf(pool, name), { strict: false }));
    }
  }
}

/**
 * Hears of the shutdown before any other provider. It is in a module of its own, because a module has one place in the
 * order of hooks.
 */
export class ShutdownNotice implements OnModuleDestroy {
  private readonly lifecycle: PoolManagerLifecycle;

  constructor(lifecycle: PoolManagerLifecycle) {
    this.lifecycle = lifecycle;
  }

  onModuleDestroy(): void {
    this.lifecycle.shutdownBegins();
  }
}

/** A promise that is resolved from outside. */
class Gate {
  private resolve: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => (this.resolve = resolve));

  open(): void {
    this.resolve();
  }
}
