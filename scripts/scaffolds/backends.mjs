/** What the applications connect to: the database of the quick start, a Redis and an upstream with the same orders. */
import { createServer } from 'node:http';

import { Redis } from 'ioredis';
import pg from 'pg';

import { listening, SharedServers, statements, stopped } from '../shared-servers.mjs';
import { quickStartSql } from './readme.mjs';

/**
 * @typedef {object} Backends
 * @property {Readonly<Record<string, string>>} env where they are, in the variables that the applications read
 * @property {ReadonlyMap<string, readonly unknown[]>} orders the orders of each tenant, the same in all of them
 */

/** The role that the SQL of the quick start makes, and its password. */
const ROLE = { username: 'orders_app', password: 'change-me' };

/**
 * Runs `fn` while the backends are there.
 *
 * @template T
 * @param {(backends: Backends) => Promise<T>} fn
 * @returns {Promise<T>}
 */
export async function withBackends(fn) {
  const servers = await SharedServers.start();
  try {
    return await servers.withDatabases(
      async ({ postgres, redisUrl }) => {
        await statements(postgres.superuserUrl, quickStartSql());
        const orders = await ordersIn(postgres.superuserUrl);
        await fillRedis(redisUrl, orders);
        const upstream = await startUpstream(orders);
        try {
          const databaseUrl = Object.assign(new URL(postgres.url), ROLE).href;
          return await fn({
            env: { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, BILLING_URL: upstream.url },
            orders,
          });
        } finally {
          await upstream.stop();
        }
      },
      () => [ROLE.username],
    );
  } finally {
    await servers.stop();
  }
}

/**
 * @param {string} connectionString of a superuser, who sees every tenant's
 * @returns {Promise<ReadonlyMap<string, readonly unknown[]>>}
 */
async function ordersIn(connectionString) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    const { rows } = await client.query(
      `select tenant_id, json_agg(json_build_object('id', id::text, 'item', item) order by id) as orders
       from orders group by tenant_id`,
    );
    return new Map(rows.map(({ tenant_id, orders }) => [tenant_id, orders]));
  } finally {
    await client.end();
  }
}

/**
 * @param {string} url
 * @param {ReadonlyMap<string, readonly unknown[]>} orders
 */
async function fillRedis(url, orders) {
  const redis = new Redis(url);
  for (const [tenant, list] of orders) await redis.set(`orders:${tenant}`, JSON.stringify(list));
  await redis.quit();
}

/**
 * Answers each request with the orders of the tenant in its header.
 *
 * @param {ReadonlyMap<string, readonly unknown[]>} orders
 * @returns {Promise<{ readonly url: string, stop(): Promise<void> }>}
 */
async function startUpstream(orders) {
  const server = createServer((request, response) => {
    const list = orders.get(String(request.headers['x-tenant-id'])) ?? [];
    response.setHeader('content-type', 'application/json').end(JSON.stringify(list));
  });
  const { port } = await listening(server);
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => stopped(server),
  };
}
