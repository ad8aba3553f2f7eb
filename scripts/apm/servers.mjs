/** What the application of the matrix works with: databases made ready for it, and the upstream of its HTTP pools. */
import { createServer } from 'node:http';
import { text as textOf } from 'node:stream/consumers';

import { listening, statements, stopped } from '../shared-servers.mjs';

/** @import { Database, SharedServers } from '../shared-servers.mjs' */

const TENANTS = ['acme', 'bolt'];

/**
 * Runs `fn` with a fresh database of each server, made ready for the application.
 *
 * @template T
 * @param {SharedServers} servers
 * @param {(databases: { databaseUrl: string, redisUrl: string, roles: Record<string, string> }) => Promise<T>} fn
 * @returns {Promise<T>}
 */
export function withDatabases(servers, fn) {
  return servers.withDatabases(
    async ({ postgres, redisUrl }) => {
      const roles = rolesIn(postgres);
      await prepare(postgres, roles);
      return fn({ databaseUrl: postgres.url, redisUrl, roles });
    },
    (postgres) => Object.values(rolesIn(postgres)),
  );
}

/**
 * @param {Database} database
 * @returns {Record<string, string>} a role for each tenant
 */
function rolesIn({ name }) {
  return Object.fromEntries(TENANTS.map((tenant) => [tenant, `${name}_${tenant}`]));
}

/**
 * In one database what each mode of isolation needs: a table with row security for the setting and the roles, a schema
 * a tenant.
 *
 * @param {Database} database
 * @param {Record<string, string>} roles
 */
async function prepare({ user, url, superuserUrl }, roles) {
  await statements(url, [
    'create table things (owner text not null, n int not null)',
    `insert into things select owner, n from unnest(array['acme', 'bolt']) as owner, generate_series(1, 4) as n`,
    'alter table things enable row level security',
    'alter table things force row level security',
    // The end of a role's name is its tenant.
    `create policy own on things using (
       owner = case when current_user = '${user}' then current_setting('app.tenant_id', true) else substring(current_user from '[a-z]+$') end
     )`,
  ]);
  await statements(
    superuserUrl,
    TENANTS.flatMap((tenant) => [
      `create role ${roles[tenant]}`,
      `grant ${roles[tenant]} to ${user}`,
      `grant select, insert on things to ${roles[tenant]}`,
    ]),
  );
  await statements(
    url,
    TENANTS.flatMap((tenant) => [
      `create schema ${tenant}`,
      `create table ${tenant}.things as select '${tenant}' as owner, n from generate_series(1, 4) as n`,
    ]),
  );
}

/**
 * The upstream of HTTP pools, which is the agent of every APM too: what they send stays on this machine.
 *
 *   /echo…    says what it was asked, and which headers of an APM came along
 *   /large    a megabyte
 *   /missing  404
 *   /cut      cuts the connection
 *   /never    never answers
 *   else      200
 *
 * @returns {Promise<{ readonly url: string, stop(): Promise<void> }>}
 */
export async function startUpstream() {
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  const { port } = await listening(server);
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => stopped(server),
  };
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
async function answer(request, response) {
  const { pathname } = new URL(request.url ?? '/', 'http://upstream');
  const body = await textOf(request);
  if (pathname === '/cut') return void request.socket.resetAndDestroy();
  if (pathname === '/never') return;
  if (pathname === '/large') return void response.end('x'.repeat(1024 * 1024));
  if (pathname === '/missing') response.statusCode = 404;
  const tracing = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => /trace|datadog|baggage|x-request-id/.test(name)),
  );
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(pathname.startsWith('/echo') ? { method: request.method, pathname, body, tracing } : {}));
}
