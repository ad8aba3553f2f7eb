// What holds on every HTTP framework that Nest runs on. Each framework has a test file that calls this.
import { once } from 'node:events';
import { Agent } from 'node:http';
import { createConnection } from 'node:net';

import { afterEach, describe, expect, it } from '@jest/globals';
import type { AbstractHttpAdapter } from '@nestjs/core';

import type { TenancyOptions } from '../../../lib/tenancy/tenancy.options.js';
import { fromHeader, fromPath, fromSubdomain, fromUser } from '../../../lib/tenancy/tenant-resolvers.js';
import { eventually } from '../../support/eventually.js';
import { type ApplicationSettings, type Running, start } from './application.js';
import { type Answer, begin, json, open, send } from './http-client.js';

const byHeader: TenancyOptions = { resolve: fromHeader('x-tenant-id') };

export function describeTenancy(framework: string, adapter: () => AbstractHttpAdapter): void {
  describe(`Tenants on ${framework}`, () => {
    let running: Running | undefined;

    afterEach(async () => {
      const { app } = running ?? {};
      running = undefined;
      await app?.close();
    });

    async function run(settings: Partial<ApplicationSettings> = {}): Promise<Running> {
      running = await start(adapter(), { tenancy: byHeader, ...settings });
      return running;
    }

    const as = (tenant: string): { headers: Record<string, string> } => ({ headers: { 'x-tenant-id': tenant } });

    describe('finding the tenant', () => {
      it('runs the handler as the tenant of the request and hands it to @CurrentTenant()', async () => {
        const { url } = await run();
        expect(json(await send(`${url}/whoami`, as('acme')))).toEqual({ tenant: 'acme', current: 'acme' });
      });

      it.each([
        ['direct', 'acme'],
        ['async', 'acme'],
        ['observable', 'acme'],
        ['inner', 'inner'],
      ])('runs a query that runs when it is awaited as the tenant of its handler: %s', async (form, tenant) => {
        const { url } = await run();
        expect(json(await send(`${url}/lazy/${form}`, as('acme')))).toEqual({ current: tenant });
      });

      it('refuses a request without a tenant with 400', async () => {
        const { url } = await run();
        const answer = await send(`${url}/whoami`);
        expect(answer.status).toBe(400);
        expect(json(answer)).toEqual({
          statusCode: 400,
          error: 'Bad Request',
          message: expect.stringContaining('no tenant'),
        });
        expect(answer.headers['retry-after']).toBeUndefined();
      });

      it.each([
        ['empty', ''],
        ['too long', 'x'.repeat(129)],
        ['not ASCII', 'caf\u00e9'],
        ['with a tab inside', 'ac\tme'],
        ['two in one header', 'acme, globex'],
      ])('refuses a tenant that is %s with 400, even where none is needed', async (_, tenant) => {
        const { url } = await run({ tenancy: { ...byHeader, required: false } });
        const answer = await send(`${url}/whoami`, as(tenant));
        expect(answer.status).toBe(400);
        expect(answer.body).toContain('malformed');
      });

      it('refuses a repeated header whose values differ, and takes one whose values agree', async () => {
        const { url } = await run();
        const twice = (first: string, second: string): Promise<Answer> =>
          send(`${url}/whoami`, { headers: { 'x-tenant-id': [first, second] } });
        expect((await twice('acme', 'globex')).status).toBe(400);
        expect(json(await twice('acme', 'acme'))).toEqual({ tenant: 'acme', current: 'acme' });
      });

      it('runs without a tenant where none is required', async () => {
        const { url } = await run({ tenancy: { ...byHeader, required: false } });
        expect(json(await send(`${url}/whoami`))).toEqual({});
      });

      it('needs no tenant for a handler with @SkipTenant(), and gives it none', async () => {
        const { url } = await run();
        expect(json(await send(`${url}/open`))).toEqual({ tenant: null });
        expect(json(await send(`${url}/open`, as('acme')))).toEqual({ tenant: null });
      });

      it('finds it in the path', async () => {
        const { url } = await run({ tenancy: { resolve: fromPath('tenant') } });
        expect(json(await send(`${url}/of/acme%20inc/path`))).toEqual({ current: 'acme inc' });
        expect((await send(`${url}/of/%07/path`)).status).toBe(400);
      });

      it('finds it in the subdomain', async () => {
        const { url } = await run({ tenancy: { resolve: fromSubdomain('example.com', { except: ['www'] }) } });
        const ask = (host: string): Promise<Answer> => send(`${url}/whoami`, { headers: { host } });
        expect(json(await ask('Acme.Example.com:8080'))).toEqual({ tenant: 'acme', current: 'acme' });
        for (const host of ['example.com', 'www.example.com', 'acme.example.org', 'a.b.example.com', '127.0.0.1']) {
          expect([host, (await ask(host)).status]).toEqual([host, 400]);
        }
      });

      it('refuses two Host headers, of which the framework shows only the first', async () => {
        const { url } = await run({ tenancy: { resolve: fromSubdomain('example.com') } });
        const socket = createConnection(Number(new URL(url).port), '127.0.0.1');
        socket.end(
          'GET /whoami HTTP/1.1\r\nHost: acme.example.com\r\nHost: globex.example.com\r\nConnection: close\r\n\r\n',
        );
        const [answer] = (await once(socket, 'data')) as [Buffer];
        socket.destroy();
        expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
      });

      it('finds it in the user that a guard has authenticated, whom the middleware could not know yet', async () => {
        const { url } = await run({ middleware: true, tenancy: { resolve: fromUser('org') } });
        const answer = await send(`${url}/guarded`, { method: 'POST', headers: { 'x-user': 'acme' } });
        expect(json(answer)).toMatchObject({ current: 'acme' });
      });

      it('asks an own function, which may take its time', async () => {
        const resolve = async (): Promise<string> => Promise.resolve('looked up');
        const { url } = await run({ tenancy: { resolve } });
        expect(json(await send(`${url}/whoami`))).toMatchObject({ current: 'looked up' });
      });

      it('answers 500 when the own function fails, and the handler does not run', async () => {
        const resolve = (): never => {
          throw new Error('directory is down');
        };
        const { url, log } = await run({ tenancy: { resolve } });
        const answer = await send(`${url}/whoami`);
        expect(answer.status).toBe(500);
        expect(answer.body).not.toContain('directory');
        expect((await log.line('directory is down')).level).toBe('error');
      });
    });

    describe('keeping it', () => {
      it('never shows one of many interleaved requests the tenant of another', async () => {
        const { url } = await run();
        const tenants = Array.from({ length: 20 }, (_, n) => `tenant-${n}`);
        const answers = await Promise.all(tenants.map((tenant) => send(`${url}/meet/20`, as(tenant))));
        expect(answers.map(json)).toEqual(tenants.map((tenant) => ({ before: tenant, after: tenant })));
      });

      it.each([false, true])('leaves nothing of it on a kept-alive connection (middleware: %s)', async (middleware) => {
        const { url } = await run({ middleware });
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        try {
          expect((await send(`${url}/generator`, { ...as('acme'), agent })).status).toBe(200);
          expect(json(await send(`${url}/plain`, { agent }))).toEqual({ current: null });
          expect(json(await send(`${url}/open`, { agent }))).toEqual({ tenant: null });
        } finally {
          agent.destroy();
        }
      });

      it('keeps it in a handler that returns an Observable', async () => {
        const { url } = await run();
        expect(json(await send(`${url}/observable`, as('acme')))).toEqual({ current: 'acme' });
      });

      it('keeps it when an abandoned Observable is torn down', async () => {
        const { url, meeting } = await run();
        const client = begin(`${url}/abandoned`, as('acme'));
        client.on('error', () => {});
        await eventually(() => meeting.seen.includes('subscribed'));
        client.destroy();
        await eventually(() => meeting.seen.some((entry) => entry?.startsWith('torn down') === true));
        expect(meeting.seen).toContain('torn down as acme');
      });

      it('keeps it through an event stream', async () => {
        const { url } = await run();
        const { body } = await send(`${url}/events`, as('acme'));
        expect(body.match(/^data: .*$/gm)).toEqual(['data: acme', 'data: acme', 'data: acme']);
      });

      it.each(['generator', 'file', 'readable', 'web-stream', 'web-response'])(
        'keeps it through every chunk of a %s, also when the client reads slowly',
        async (route) => {
          const { url, meeting } = await run();
          const { response } = await open(`${url}/${route}`, as('acme'));
          const lines: string[] = [];
          let rest = '';
          for await (const chunk of response) {
            const parts = (rest + String(chunk)).split('\n');
            rest = parts.pop() ?? '';
            lines.push(...parts.map((part) => part.trim()));
            response.pause();
            setImmediate(() => response.resume());
          }
          expect(new Set(lines)).toEqual(new Set(['acme']));
          expect(lines).toHaveLength(40);
          expect(meeting.seen).toEqual(['generator ended as acme']);
          if (route === 'web-response') expect(response.headers['x-own']).toBe('yes');
        },
      );

      it.each(['generator', 'file', 'readable', 'web-stream', 'web-response'])(
        'keeps it when the client of a %s leaves in the middle',
        async (route) => {
          const { url, meeting } = await run();
          const { response, leave } = await open(`${url}/${route}`, as('acme'));
          await once(response, 'data');
          leave();
          await eventually(() => meeting.seen.length > 0);
          expect(meeting.seen).toEqual(['generator ended as acme']);
        },
      );
    });

    describe('the middleware', () => {
      it('lets guards see the tenant, with a body to parse as well', async () => {
        const { url, meeting } = await run({ middleware: true });
        const headers = { 'x-tenant-id': 'acme', 'content-type': 'application/json' };
        const body = JSON.stringify({ much: 'x'.repeat(80_000) });
        const answer = await send(`${url}/guarded`, { method: 'POST', headers, body });
        expect(json(answer)).toEqual({ body: JSON.parse(body), current: 'acme' });
        expect(meeting.seen).toEqual(['acme']);
      });

      it('refuses nothing itself: who needs no tenant is served, who does is refused behind the guards', async () => {
        const { url, meeting } = await run({ middleware: true });
        expect(json(await send(`${url}/open`))).toEqual({ tenant: null });
        expect((await send(`${url}/guarded`, { method: 'POST' })).status).toBe(400);
        expect((await send(`${url}/guarded`, { method: 'POST', ...as('x'.repeat(200)) })).status).toBe(400);
        expect(meeting.seen).toEqual([undefined, undefined]);
      });

      it('takes the tenant away again for a handler with @SkipTenant()', async () => {
        const { url } = await run({ middleware: true });
        expect(json(await send(`${url}/open`, as('acme')))).toEqual({ tenant: null });
      });

      it('gives way to what is known behind the guards', async () => {
        const user = fromUser('org');
        const header = fromHeader('x-tenant-id');
        const { url, meeting } = await run({
          middleware: true,
          tenancy: { resolve: (context) => user(context) ?? header(context) },
        });
        const headers = { 'x-tenant-id': 'claimed', 'x-user': 'authenticated' };
        const answer = await send(`${url}/guarded`, { method: 'POST', headers });
        expect(meeting.seen).toEqual(['claimed']);
        expect(json(answer)).toMatchObject({ current: 'authenticated' });
      });

      it('opens the one scope that the interceptor uses as well', async () => {
        const { url, log, driver } = await run({ middleware: true });
        await send(`${url}/forgets`, as('acme'));
        await log.line('was still out when Routes.forgets had answered');
        expect(log.lines.filter((line) => line.message.includes('still out'))).toHaveLength(1);
        expect(driver.opened[0]?.state).toBe('killed');
      });
    });

    describe('the scope of a request', () => {
      it('reports a lease that the handler forgot, and destroys its connection', async () => {
        const { url, log, driver, pool } = await run();
        expect((await send(`${url}/forgets`, as('acme'))).status).toBe(200);
        const line = await log.line('still out');
        expect(line.level).toBe('error');
        expect(line.message).toMatch(/lease of pool "work" \(tenant "acme"\).* ms ago.*Routes\.forgets.*detach\(\)/s);
        expect(driver.opened[0]?.state).toBe('killed');
        expect(pool.stats().active).toBe(0);
      });

      it('says where the lease was acquired, while leak detection is on', async () => {
        const { url, log } = await run({ pool: { leakDetectionMs: 60_000 } });
        await send(`${url}/forgets`, as('acme'));
        expect((await log.line('still out')).message).toMatch(/It was acquired at:\n +at .*application\.ts/s);
      });

      it('withdraws and reports what still waits for a slot, but for work that was detached from it', async () => {
        const { url, log, meeting, pool } = await run();
        const held = [await pool.acquire(), await pool.acquire()];
        expect((await send(`${url}/waits`, as('acme'))).status).toBe(200);
        await eventually(() => meeting.seen.length === 2);
        expect(meeting.seen).toEqual(['RequestEndedError', 'RequestEndedError']);
        const reports = log.lines.filter((line) => line.message.includes('still waiting'));
        expect(reports).toHaveLength(2);
        expect(reports[0]).toMatchObject({ level: 'error', message: expect.stringContaining('Routes.waits') });
        expect(pool.stats().waiting).toBe(1);
        for (const lease of held) lease.release();
        await eventually(() => meeting.seen.includes('outlived the request as acme'));
        expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
      });

      it('withdraws what a handler waits for whose client has gone, and answers for it without a fault', async () => {
        const { url, log, pool } = await run();
        const held = [await pool.acquire(), await pool.acquire()];
        const client = begin(`${url}/busy`, as('acme'));
        client.on('error', () => {});
        await eventually(() => pool.stats().waiting === 1);
        client.destroy();
        expect(await log.line('went away')).toMatchObject({
          level: 'warn',
          message: expect.stringMatching(/Routes\.busy.*waiting.*withdrawn/),
        });
        expect(pool.stats().waiting).toBe(0);
        for (const lease of held) lease.release();
        expect((await send(`${url}/busy`, as('acme'))).status).toBe(200);
        expect(log.lines.filter((line) => line.level === 'error')).toEqual([]);
      });

      it('leaves a detached lease alone', async () => {
        const { url, log, meeting, pool } = await run();
        const goOn = meeting.shut();
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        await send(`${url}/detaches`, { ...as('acme'), agent });
        // The next request of the connection comes after the end of the one before.
        await send(`${url}/whoami`, { ...as('acme'), agent });
        agent.destroy();
        expect(pool.stats().active).toBe(1);
        goOn();
        await eventually(() => pool.stats().active === 0);
        expect(meeting.seen).toEqual(['still mine']);
        expect(log.lines.filter((line) => line.level !== 'log')).toEqual([]);
      });

      it.each(['generator', 'file', 'readable'])('stays open while a %s is being sent', async (form) => {
        const { url, log, meeting, pool, driver } = await run();
        const { response } = await open(`${url}/streamed-lease/${form}`, as('acme'));
        const [first] = (await once(response, 'data')) as [Buffer];
        expect(String(first)).toMatch(/^acme /);
        expect(pool.stats().active).toBe(1);
        meeting.seen.push('enough');
        response.resume();
        await once(response, 'end');
        await eventually(() => pool.stats().active === 0);
        expect(driver.opened.map((connection) => connection.state)).toEqual(['open']);
        expect(log.lines.filter((line) => line.level !== 'log')).toEqual([]);
      });

      it.each(['generator', 'file', 'readable'])('lets a %s clean up when its client leaves', async (form) => {
        const { url, log, pool, driver } = await run();
        const { response, leave } = await open(`${url}/streamed-lease/${form}`, as('acme'));
        await once(response, 'data');
        leave();
        await eventually(() => pool.stats().active === 0);
        expect(driver.opened.map((connection) => connection.state)).toEqual(['open']);
        expect(log.lines.filter((line) => line.level !== 'log')).toEqual([]);
      });

      it('waits for a stream that gives its lease back only after it was sent', async () => {
        const { url, log, meeting, pool, driver } = await run();
        const cursorAnswers = meeting.shut();
        expect((await send(`${url}/slow-close`, as('acme'))).body).toBe('row');
        await send(`${url}/whoami`, as('acme'));
        expect(pool.stats().active).toBe(1);
        cursorAnswers();
        await eventually(() => pool.stats().active === 0);
        expect(driver.opened.map((connection) => connection.state)).toEqual(['open']);
        expect(log.lines.filter((line) => line.level !== 'log')).toEqual([]);
      });

      it('ends when the client leaves, although the handler hangs', async () => {
        const { url, log, meeting, pool, driver } = await run();
        const client = begin(`${url}/hangs`, as('acme'));
        client.on('error', () => {});
        await eventually(() => meeting.seen.includes('hanging'));
        expect(pool.stats().active).toBe(1);
        client.destroy();
        const line = await log.line('went away');
        expect(line).toMatchObject({ level: 'warn', message: expect.stringContaining('tenant "acme"') });
        expect(driver.opened[0]?.state).toBe('killed');
        expect(pool.stats().active).toBe(0);
      });

      it('ends for a response that waits behind another when their client leaves', async () => {
        const { url, log, meeting, pool } = await run();
        const socket = createConnection(Number(new URL(url).port), '127.0.0.1');
        const ask = 'GET /hangs HTTP/1.1\r\nHost: localhost\r\nX-Tenant-Id: acme\r\n\r\n';
        socket.write(ask + ask);
        await eventually(() => meeting.seen.length === 2);
        expect(pool.stats().active).toBe(2);
        socket.destroy();
        await eventually(() => pool.stats().active === 0);
        expect(log.lines.filter((line) => line.message.includes('went away'))).toHaveLength(2);
      });
    });

    describe('answering for a pool', () => {
      it.each([
        ['tenant-limit', 429, '5'],
        ['tenant-busy', 429, '1'],
        ['pool-busy', 503, '2'],
        ['backend-down', 503, '2'],
        ['backend-timeout', 503, '1'],
        ['queue-full', 503, '1'],
        ['closed', 503, '1'],
        ['suspended', 503, '1'],
        ['wrapped', 503, '2'],
      ])('turns %s into %i with Retry-After: %s', async (kind, status, retryAfter) => {
        const { url } = await run();
        const answer = await send(`${url}/fail/${kind}`, as('acme'));
        expect({ status: answer.status, retryAfter: answer.headers['retry-after'] }).toEqual({ status, retryAfter });
        expect(json(answer)).toEqual({ statusCode: status, error: expect.any(String), message: expect.any(String) });
        expect(answer.body).not.toMatch(/db\.internal|ECONNREFUSED|work|acme|select/);
      });

      it.each(['generator', 'file', 'observable'])(
        'does so for a %s that fails before its first chunk',
        async (form) => {
          const { url } = await run();
          const answer = await send(`${url}/fail-later/${form}/tenant-limit`, as('acme'));
          expect({ status: answer.status, retryAfter: answer.headers['retry-after'] }).toEqual({
            status: 429,
            retryAfter: '5',
          });
          expect(json(answer)).toMatchObject({ statusCode: 429 });
        },
      );

      it("leaves the application's own mistakes a 500", async () => {
        const { url } = await run();
        expect((await send(`${url}/fail/own-mistake`, as('acme'))).status).toBe(500);
      });

      it('says 429 to the tenant that is at its limit, while another is served', async () => {
        const { url, meeting, pool } = await run({ pool: { tenants: { max: 1, whenFull: 'reject' } } });
        const goOn = meeting.shut();
        const first = send(`${url}/busy`, as('acme'));
        await eventually(() => pool.stats().active === 1);
        const refused = await send(`${url}/busy`, as('acme'));
        const other = send(`${url}/busy`, as('globex'));
        await eventually(() => pool.stats().active === 2);
        goOn();
        expect(refused.status).toBe(429);
        expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
        expect([(await first).status, (await other).status]).toEqual([200, 200]);
      });

      it('says 503 when the pool is closed', async () => {
        const { url, pool } = await run();
        await pool.close();
        const answer = await send(`${url}/busy`, as('acme'));
        expect(answer.status).toBe(503);
        expect(answer.headers['retry-after']).toBe('1');
      });
    });
  });
}
