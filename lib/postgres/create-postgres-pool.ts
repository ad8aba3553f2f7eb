/**
 * Puts a PostgreSQL pool together, from the server's address to the handle.
 */
import type { PoolEvents } from '../pool/pool-events.js';
import { createPoolCore, createPoolRuntime, type PoolCore, type PoolDependencies } from '../pool/pool-handle.js';
import { clientConfigOf, overrideParameters, pgPoolOptionsOf, resolveServer } from './client-config.js';
import { Failover } from './failover.js';
import { isolationOf } from './isolation.js';
import { PgDriver } from './pg-driver.js';
import { pgEvents } from './pg-events.js';
import { PoolEnds } from './pool-ends.js';
import { PostgresPool } from './postgres-pool.js';
import type { ResolvedPostgresPoolOptions } from './postgres-pool.options.js';
import { loadPg } from './protocol/pg-module.js';
import { RoleSafety } from './role-safety.js';
import type { ClientDependencies, LeasedClient, PoolSession } from './session/leased-client.js';
import type { SessionRules } from './session/session-hygiene.js';
import { SetupClient } from './session/setup-client.js';
import { Batching } from './statement/batching.js';
import { ConnectionParsers } from './statement/caller-code.js';
import { Instrumentation } from './statement/instrumentation.js';
import { QueryChannel } from './statement/query-channel.js';
import { TransactionChannel } from './transaction/transaction-channel.js';

/**
 * Nothing is opened until the manager starts it or it is used.
 *
 * @throws MissingDriverError when the package `pg` is missing.
 */
export async function createPostgresPool(
  id: string,
  config: ResolvedPostgresPoolOptions,
  dependencies: PoolDependencies,
): Promise<PostgresPool> {
  const pg = await loadPg(id);
  const runtime = createPoolRuntime(id, 'database', config, dependencies);
  const { clock, deadlines, counters, events, logger } = runtime;
  const clientConfig = clientConfigOf(id, config, dependencies.owner);
  const server = resolveServer(id, pg, clientConfig, config);
  const rules: SessionRules = {
    poolId: id,
    isolation: isolationOf(config.isolation, server.user),
    trustOneShot: config.session.trustOneShot,
    counters,
  };
  const failover = new Failover({ poolId: id, clock, logger });
  const safety = new RoleSafety({
    poolId: id,
    clock,
    logger,
    policy: config.isolation.mode === 'rls' ? config.isolation.unsafeRole : 'ignore',
  });
  const clients: ClientDependencies = {
    deadlines,
    clock,
    instrumentation: new Instrumentation(pg.Client),
    queries: new QueryChannel(runtime.publisher.pool, clock),
    limits: server.limits,
    parsers: new ConnectionParsers(clientConfig.types !== undefined),
    batching: new Batching(config.maxBatch),
  };
  const driver = new PgDriver({
    pg,
    clientConfig,
    prepare: (client) => overrideParameters(client, clientConfig, config),
    failover,
    password: config.password,
    rules,
    clients,
    setUp: (session) => setUp(session, id, config, { clients, safety, events }),
  });
  const core: PoolCore<LeasedClient> = createPoolCore<PoolSession, LeasedClient>({
    runtime,
    config,
    driver,
    observer: pgEvents(events),
  });
  failover.attach(core.engine);
  safety.attach(core);
  return new PostgresPool(core, {
    ...clients,
    pg,
    rules,
    driver,
    safety,
    options: pgPoolOptionsOf(config, server),
    ends: new PoolEnds(core, clock, dependencies.isDeclared ?? false),
    transactions: new TransactionChannel(runtime.publisher.pool),
  });
}

interface SetupDependencies {
  readonly clients: ClientDependencies;
  readonly safety: RoleSafety;
  readonly events: PoolEvents;
}

/** What is done once on each new connection. */
async function setUp(
  session: PoolSession,
  poolId: string,
  { isolation, onConnect, verify }: ResolvedPostgresPoolOptions,
  { clients, safety, events }: SetupDependencies,
): Promise<void> {
  if (isolation.mode === 'rls') {
    const untold = { ...clients, instrumentation: undefined };
    await SetupClient.run(poolId, session, untold, (client) => safety.inspect(client));
    session.hygiene.adoptSetup([]);
  }
  if (onConnect !== undefined || verify !== undefined || events.listenerCount('connect') > 0) {
    await SetupClient.run(poolId, session, clients, async (client) => {
      await onConnect?.(client);
      await events.emitAndWait('connect', client);
      if (verify !== undefined) {
        await new Promise<void>((resolve, reject) => verify(client, (error) => (error ? reject(error) : resolve())));
      }
    });
  }
  clients.parsers.setUp();
}
