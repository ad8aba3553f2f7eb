import { once } from 'node:events';
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { type HttpFixture, startHttpServer } from './servers/index.js';

describe('the HTTP upstream', () => {
  let upstream: HttpFixture;
  let agent: Agent;

  beforeEach(async () => {
    upstream = await startHttpServer();
    agent = new Agent({ keepAlive: true });
  });

  afterEach(async () => {
    agent.destroy();
    await upstream.close();
  });

  async function send(path: string, options: { method?: string; tenant?: string; body?: string } = {}) {
    const outgoing = httpRequest(`${upstream.url}${path}`, {
      agent,
      method: options.method ?? 'GET',
      headers: options.tenant === undefined ? {} : { 'x-tenant-id': options.tenant },
    });
    // Node 24 tells the request, too, of a reset within the answer, whose reader hears of it anyway.
    outgoing.on('error', () => {});
    outgoing.end(options.body);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return response;
  }

  async function get(
    path: string,
    options: Parameters<typeof send>[1] = {},
  ): Promise<{ status: number; text: string }> {
    const response = await send(path, options);
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
    return { status: response.statusCode ?? 0, text };
  }

  it('echoes the request', async () => {
    const { status, text } = await get('/echo?a=1', { method: 'POST', tenant: 'acme', body: 'hello' });
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({
      method: 'POST',
      url: '/echo?a=1',
      headers: { 'x-tenant-id': 'acme' },
      body: 'hello',
    });
  });

  it('answers with any status', async () => {
    expect((await get('/status/503')).status).toBe(503);
    expect((await get('/status/204')).text).toBe('');
    expect((await get('/nowhere')).status).toBe(404);
  });

  it('streams chunks', async () => {
    expect((await get('/stream?chunks=4&bytes=25')).text).toHaveLength(100);
  });

  it('holds requests until they are released, and counts them per tenant', async () => {
    const answers = ['acme', 'acme', 'globex'].map((tenant) => get('/held', { tenant }));
    await upstream.waitForHeld(3);
    expect(upstream.counters).toMatchObject({ requests: 3, inFlight: 3, openSockets: 3 });
    expect(upstream.tenant('acme')).toMatchObject({ requests: 2, inFlight: 2 });

    expect(upstream.releaseHeld(1)).toBe(1);
    await upstream.waitUntil(({ counters }) => counters.inFlight === 2);
    expect(upstream.releaseHeld()).toBe(2);
    await Promise.all(answers);
    await upstream.waitUntil(({ counters }) => counters.inFlight === 0);
    expect(upstream.tenant('acme')).toMatchObject({ requests: 2, inFlight: 0, maxInFlight: 2 });
    expect(upstream.counters.maxInFlight).toBe(3);
  });

  it('sends a silent body byte by byte, until the client goes away', async () => {
    const response = await send('/silent?everyMs=1');
    await once(response, 'data');
    response.destroy();
    await upstream.waitUntil(({ counters }) => counters.aborted === 1);
    expect(upstream.counters.inFlight).toBe(0);
  });

  it('gives no answer at all, hangs up, and cuts a body', async () => {
    const never = httpRequest(`${upstream.url}/never`, { agent }).end();
    never.on('error', () => {});
    await upstream.waitUntil(({ counters }) => counters.inFlight === 1);
    never.destroy();
    await expect(get('/hang-up')).rejects.toMatchObject({ code: 'ECONNRESET' });
    await expect(get('/truncated')).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('resets the next request on a socket whose last answer promised to keep it alive', async () => {
    expect((await get('/last')).status).toBe(200);
    await expect(get('/echo')).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(upstream.counters).toMatchObject({ socketsAccepted: 1, requests: 1 });
    expect((await get('/echo')).status).toBe(200);
  });

  it('closes idle sockets only', async () => {
    const held = get('/held');
    await upstream.waitForHeld(1);
    await get('/echo');
    expect(upstream.counters.openSockets).toBe(2);
    upstream.closeIdleSockets();
    await upstream.waitUntil(({ counters }) => counters.openSockets === 1);
    upstream.releaseHeld();
    expect((await held).status).toBe(200);
  });
});
