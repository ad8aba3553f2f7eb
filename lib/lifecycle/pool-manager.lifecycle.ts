/**
 * Ties a manager to the life of its application: opens the pools in `onModuleInit`, ends them with the application.
 *
 * Nest calls `beforeApplicationShutdown` while its servers still accept, then closes them, which takes as long as the slowest handler, and only
 * then calls `onApplicationShutdown`. So the end begins in the first hook, with a deadline that runs while the servers close: the second hook
 * may come late, or, with a handler that never returns, not at all unless that deadline cuts what is still open.
 *
 * Promises: one start and one end each, however often the hooks are called; nothing is thrown on the way down.
 */
import { Logger, type BeforeApplicationShutdown, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';

import type { ConnectionPoolManager } from '../connection-pool-manager.js';
import { PoolConfigError } from '../errors.js';
import type { PoolHandle } from '../pool-handle.js';
import { getPoolToken, getRegisteredManagerToken } from '../pool-manager.tokens.js';
import { closeAllConnections, closeIdleConnections, IDLE_SWEEP_MS, LAST_ANSWERS_MS } from './http-connections.js';
import type { ShutdownReport } from './shutdown.js';

export interface PoolManagerLifecycleParts {
  /** The registration's name. */
  readonly name: string;
  /** The pools that have injection tokens. */
  readonly poolNames: readonly string[];
  readonly manager: ConnectionPoolManager;
  readonly moduleRef: ModuleRef;
  readonly modules: ModulesContainer;
  readonly http: HttpAdapterHost;
}

/** The end, once it has begun. */
interface Ending {
  readonly report: Promise<ShutdownReport>;
  /** Settles when the readiness grace is over, and Nest may close its servers. */
  readonly graceOver: Promise<unknown>;
  /** Says that Nest has closed its servers. */
  readonly serversClosed: () => void;
}

export class PoolManagerLifecycle implements OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly parts: PoolManagerLifecycleParts;
  private readonly logger = new Logger('PoolManager');
  private ending: Ending | undefined;

  constructor(parts: PoolManagerLifecycleParts) {
    this.parts = parts;
  }

  async onModuleInit(): Promise<void> {
    this.refuseNamesakes();
    this.leaveOverriddenPools();
    await this.parts.manager.start();
  }

  /** Resolves when the readiness grace is over; the pools go on serving what is in flight. */
  async beforeApplicationShutdown(): Promise<void> {
    this.ending ??= this.end();
    await this.ending.graceOver;
  }

  async onApplicationShutdown(): Promise<void> {
    this.ending ??= this.end();
    this.ending.serversClosed();
    await this.ending.report;
  }

  private end(): Ending {
    const servers = new Gate();
    const grace = new Gate();
    const report = this.parts.manager.stop({
      drain: (cut) => {
        grace.open();
        this.sweepIdleConnections(servers.opened, cut);
        cut.addEventListener('abort', () => this.cutServer(servers.opened), { once: true });
        return servers.opened;
      },
    });
    // Somebody may have stopped the manager before, in a way of their own: then there is no grace to wait for but their own end.
    return { report, graceOver: Promise.race([grace.opened, report]), serversClosed: () => servers.open() };
  }

  /** From the moment that Nest closes its server until it has closed. */
  private sweepIdleConnections(closed: Promise<void>, cut: AbortSignal): void {
    const sweep = setInterval(() => closeIdleConnections(this.httpServer()), IDLE_SWEEP_MS).unref();
    void closed.then(() => clearInterval(sweep));
    cut.addEventListener('abort', () => clearInterval(sweep), { once: true });
  }

  /** The leases have been cut: handlers that waited for them answer now, and what still doesn't is hung. */
  private cutServer(closed: Promise<void>): void {
    const lastAnswers = setTimeout(() => {
      if (closeAllConnections(this.httpServer())) {
        this.logger.warn('Cut the HTTP connections that were still open after the drain deadline.');
      }
    }, LAST_ANSWERS_MS);
    void closed.then(() => clearTimeout(lastAnswers));
  }

  private httpServer(): unknown {
    // An application context without a server has a host without an adapter, whatever its type says.
    const adapter: Partial<HttpAdapterHost['httpAdapter']> | undefined = this.parts.http.httpAdapter;
    return adapter?.getHttpServer?.();
  }

  /** A manager belongs to one registration: pools of two with the same name would shadow each other, token by token. */
  private refuseNamesakes(): void {
    const { modules, name } = this.parts;
    const token = getRegisteredManagerToken(name);
    const registrations = [...modules.values()].filter((module) => module.providers.has(token)).length;
    if (registrations === 1) return;
    const rule =
      `must differ between the registrations of an application, but ${registrations} are called "${name}". ` +
      `Register all pools once, in the root module, or give the others a name of their own: forRoot({ name: 'reporting', … })`;
    throw new PoolConfigError([{ key: 'name', rule }]);
  }

  /** A pool whose factory has never run by now was overridden in a test: it is not opened, and the manager finds what took its place. */
  private leaveOverriddenPools(): void {
    const { manager, moduleRef, name, poolNames } = this.parts;
    for (const pool of poolNames.filter((id) => manager.table.isUnbuilt(id))) {
      manager.table.replace(pool, moduleRef.get<PoolHandle>(getPoolToken(pool, name), { strict: false }));
    }
  }
}

/** A promise that somebody else resolves. */
class Gate {
  private resolve: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => (this.resolve = resolve));

  open(): void {
    this.resolve();
  }
}
