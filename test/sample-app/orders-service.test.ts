import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { type ChildProgram, startChild } from '../support/children.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { freePort, type HttpFixture, startHttpServer } from '../support/servers/index.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const SERVICE = fileURLToPath(new URL('../../sample-app/main.ts', import.meta.url));

interface Order {
  readonly id: string;
  readonly item: string;
  readonly quantity: number;
  readonly invoice: string | null;
}

interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}

interface Health {
  readonly status: string;
  readonly details: Readonly<Record<string, { readonly status: string }>>;
}

let database: TestDatabase;
let redis: TestRedis;
let billing: HttpFixture;
let service: ChildProgram;
let url: string;

beforeAll(async () => {
  [database, redis, billing] = await Promise.all([
    createDatabase(),
    claimRedis(),
    startHttpServer({
      handler: (request, response) => {
        if (request.url !== '/invoices') return false;
        response.writeHead(201, { 'content-type': 'application/json' }).end('{"invoice":"INV-1"}');
        return true;
      },
    }),
  ]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  service = startChild(process.execPath, ['--import', LOADER, SERVICE], {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      BILLING_URL: billing.url,
      PORT: String(port),
    },
  });
  await service.waitForLine(/Nest application successfully started/, { withinMs: 60_000 });
  await eventually(async () => expect((await get('/health/ready')).status).toBe(200));
}, 90_000);

afterAll(async () => {
  await service.stop();
  await Promise.all([database.drop(), redis.release(), billing.close()]);
});

async function send<Body>(path: string, init: RequestInit): Promise<Answer<Body>> {
  const response = await fetch(`${url}${path}`, init);
  return { status: response.status, body: (await response.json()) as Body };
}

const get = <Body = unknown>(path: string, tenantId?: string): Promise<Answer<Body>> =>
  send<Body>(path, tenantId === undefined ? {} : { headers: { 'x-tenant-id': tenantId } });

const order = <Body = Order>(tenantId: string, body: unknown): Promise<Answer<Body>> =>
  send<Body>('/orders', {
    method: 'POST',
    headers: { 'x-tenant-id': tenantId, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

const itemsOf = async (tenantId: string): Promise<string[]> => {
  const { body } = await get<Order[]>('/orders', tenantId);
  return body.map(({ item }) => item);
};

describe('the sample service', () => {
  it('starts with a few orders of each tenant', async () => {
    expect(await itemsOf('globex')).toEqual(['hammock']);
    expect((await itemsOf('initech')).sort()).toEqual(['cover sheet', 'stapler']);
  });

  it('takes an order, has it invoiced, and finds it again', async () => {
    const created = await order('acme', { item: 'giant magnet', quantity: 3 });
    expect(created).toMatchObject({ status: 201, body: { item: 'giant magnet', quantity: 3, invoice: 'INV-1' } });
    const found = await get<Order>(`/orders/${created.body.id}`, 'acme');
    expect(found).toEqual({ status: 200, body: created.body });
    expect(await itemsOf('acme')).toContain('giant magnet');
    expect((await get('/orders/summary', 'acme')).body).toEqual({ orders: 3, pieces: 5 });
  });

  it('answers a second read from the cache', async () => {
    const { body } = await order('acme', { item: 'iron bird seed' });
    await get(`/orders/${body.id}`, 'acme');
    await database.query('update orders set item = $2 where id = $1', [body.id, 'changed behind the cache']);
    expect((await get<Order>(`/orders/${body.id}`, 'acme')).body.item).toBe('iron bird seed');
  });

  it("shows no tenant another's orders, not even by id or from the cache", async () => {
    const { body } = await order('acme', { item: 'secret' });
    expect((await get(`/orders/${body.id}`, 'acme')).status).toBe(200);
    expect((await get(`/orders/${body.id}`, 'globex')).status).toBe(404);
    expect(await itemsOf('globex')).not.toContain('secret');
    expect(await itemsOf('nobody-has-heard-of-it')).toEqual([]);
  });

  it('keeps two tenants apart while both send many requests at once', async () => {
    const tenants = ['left', 'right'];
    const turns = Array.from({ length: 12 }, (_, turn) => turn);
    await Promise.all(turns.map((turn) => order(tenants[turn % 2] ?? '', { item: `${tenants[turn % 2]} ${turn}` })));
    for (const tenantId of tenants) {
      const items = await itemsOf(tenantId);
      expect(items).toHaveLength(6);
      expect(items.filter((item) => !item.startsWith(`${tenantId} `))).toEqual([]);
    }
  });

  it.each([
    ['without a tenant', undefined],
    ['with two tenants', 'acme, globex'],
    ['with too long a tenant', 'a'.repeat(129)],
  ])('refuses a request %s with 400', async (_, tenantId) => {
    expect((await get('/orders', tenantId)).status).toBe(400);
  });

  it('takes a hostile tenant for nothing but a name', async () => {
    expect(await get('/orders', "acme' or true; drop table orders; --")).toEqual({ status: 200, body: [] });
    expect(await itemsOf('globex')).toContain('hammock');
  });

  it('refuses an order or an id that makes no sense with 400', async () => {
    const refused = await order<{ message: string[] }>('acme', { item: ' ', quantity: 0.5 });
    expect(refused.status).toBe(400);
    expect(refused.body.message).toHaveLength(2);
    for (const id of ['abc', '1.5', '9'.repeat(30)]) expect((await get(`/orders/${id}`, 'acme')).status).toBe(400);
  });

  it('answers 404 for an order that does not exist', async () => {
    expect((await get('/orders/999999', 'acme')).status).toBe(404);
  });

  it('tells its health and the numbers of its pools without a tenant', async () => {
    expect((await get('/health/live')).status).toBe(200);
    const health = await get<Health>('/health');
    expect(health.status).toBe(200);
    expect(Object.keys(health.body.details).sort()).toEqual(['billing', 'cache', 'orders']);
    const stats = await get<Record<string, { max: number; acquisitions: number }>>('/stats');
    expect(stats.status).toBe(200);
    expect(stats.body).toMatchObject({ orders: { max: 12 }, cache: { max: 4 }, billing: { max: 20 } });
    expect(stats.body.orders?.acquisitions).toBeGreaterThan(0);
  });

  it('goes on taking orders while billing is down, without invoices, degraded but ready', async () => {
    await billing.close();
    const created = await order('acme', { item: 'catapult' });
    expect(created).toMatchObject({ status: 201, body: { item: 'catapult', invoice: null } });
    await eventually(
      async () => {
        const { status, body } = await get<Health>('/health');
        expect(status).toBe(200);
        expect(body.details).toMatchObject({
          orders: { status: 'up' },
          cache: { status: 'up' },
          billing: { status: 'degraded' },
        });
      },
      { withinMs: 10_000, everyMs: 100 },
    );
    expect((await get('/health/ready')).status).toBe(200);
  });

  it('ends with 0 and its shutdown report', async () => {
    service.signal('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(service.output()).toMatch(/Pools closed in \d+ ms\./);
    const sessions = `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    await eventually(async () => expect(await database.query(sessions)).toEqual([]));
  });
});
