// What the clients of an application are told of their connections from the moment on at which it begins to end.
import { once } from 'node:events';
import {
  Agent,
  createServer,
  get as httpGet,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  type Server,
} from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { Agent as HttpsAgent, get as httpsGet } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Get,
  Header,
  type INestApplication,
  Injectable,
  Module,
  type NestApplicationOptions,
  type OnModuleDestroy,
  StreamableFile,
} from '@nestjs/common';
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core';
import { ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { firstValueFrom } from 'rxjs';
import { io } from 'socket.io-client';

import { ConnectionPoolManager, PoolManagerModule } from '../../lib/index.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';
import { CERTIFICATE, KEY } from '../support/self-signed.js';
import { freePort } from '../support/servers/index.js';

/** A promise that the test resolves. */
class Gate {
  open: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));
}

/** What the present test and the application tell each other. */
let working: Gate;
let body: PassThrough;
let ending: Gate;
let calls = 0;

@Controller()
class Routes {
  @Get()
  plain(): object {
    return { done: true };
  }

  @Get('work')
  async work(): Promise<object> {
    calls++;
    await working.opened;
    return { done: true };
  }

  @Get('stream')
  stream(): StreamableFile {
    return new StreamableFile(body);
  }

  @Get('own')
  @Header('Connection', 'keep-alive')
  @Header('Keep-Alive', 'timeout=1')
  own(): object {
    return { done: true };
  }

  @MessagePattern('ask')
  ask(): object {
    return { done: true };
  }
}

@WebSocketGateway()
class Gateway {
  @SubscribeMessage('ask')
  ask(): object {
    return { event: 'answer', data: 'still here' };
  }
}

/** Another part of the application, which takes its time to end while the server still listens. */
@Injectable()
class SlowEnd implements OnModuleDestroy {
  onModuleDestroy(): Promise<void> {
    return ending.opened;
  }
}

@Module({ imports: [PoolManagerModule.forRoot({ pools: {} })], controllers: [Routes], providers: [Gateway, SlowEnd] })
class Application {}

@Module({ controllers: [Routes] })
class Neighbour {}

const ends: (() => unknown)[] = [];
beforeEach(() => {
  working = new Gate();
  body = new PassThrough();
  ending = new Gate();
  calls = 0;
});
afterEach(async () => {
  working.open();
  ending.open();
  body.end();
  for (const end of ends.splice(0).reverse()) await end();
});

async function run(adapter: AbstractHttpAdapter, options: NestApplicationOptions = {}, host = '127.0.0.1') {
  const app: INestApplication = await NestFactory.create(Application, adapter, { logger: new LogBook(), ...options });
  ends.push(() => app.close());
  await app.listen(0, host);
  const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
  return { app, port };
}

function connectionsOf(app: INestApplication): Promise<number> {
  return new Promise((resolve) => (app.getHttpServer() as Server).getConnections((_, count) => resolve(count)));
}

/** The application begins to end, and doesn't get on before the test opens the gate. */
async function beginToEnd(app: INestApplication): Promise<{ readonly closed: Promise<void> }> {
  const closed = app.close();
  await eventually(() => expect(app.get(ConnectionPoolManager).isStopping).toBe(true));
  return { closed };
}

function keptAlive(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  ends.push(() => agent.destroy());
  return agent;
}

/** Waits for the head of the answer. */
async function head(options: RequestOptions): Promise<IncomingMessage> {
  const [response] = (await once(httpGet({ host: '127.0.0.1', ...options }), 'response')) as [IncomingMessage];
  return response;
}

async function connectionOf(options: RequestOptions): Promise<string | undefined> {
  const response = await head(options);
  await text(response);
  return response.headers.connection;
}

describe.each([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', (https: { cert: string; key: string } | undefined = undefined) => new FastifyAdapter(https && { https })],
])('An application on %s that ends', (_, adapter) => {
  it('tells a kept-alive connection to close in its next answer, and closes it behind that', async () => {
    const { app, port } = await run(adapter());
    const agent = keptAlive();
    expect(await connectionOf({ port, agent })).toBe('keep-alive');
    await beginToEnd(app);
    const response = await head({ port, agent });
    const closed = once(response.socket, 'close');
    await text(response);
    expect(response.headers.connection).toBe('close');
    await closed;
    // The server still listens, for who doesn't know yet.
    expect(await connectionOf({ port, agent })).toBe('close');
  });

  it('tells requests that were being served when it began', async () => {
    const { app, port } = await run(adapter());
    const agent = keptAlive();
    const connection = connectionOf({ port, agent, path: '/work' });
    await eventually(() => expect(calls).toBe(1));
    await beginToEnd(app);
    working.open();
    expect(await connection).toBe('close');
  });

  it('sends on an answer whose head had said that the connection stays', async () => {
    const { app, port } = await run(adapter());
    const answering = head({ port, agent: keptAlive(), path: '/stream' });
    body.write('first ');
    const response = await answering;
    await beginToEnd(app);
    body.end('last');
    expect(response.headers.connection).toBe('keep-alive');
    expect(await text(response)).toBe('first last');
  });

  it('leaves a Connection header of the application alone', async () => {
    const { app, port } = await run(adapter());
    await beginToEnd(app);
    expect(await connectionOf({ port, agent: keptAlive(), path: '/own' })).toBe('keep-alive');
  });

  it('answers a client of HTTP/1.0 that had asked for a kept-alive connection, and closes', async () => {
    const { app, port } = await run(adapter());
    await beginToEnd(app);
    const socket = connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n[^]*"done":true/i);
  });

  it('answers all requests that a client has sent ahead, and closes behind the last', async () => {
    const { app, port } = await run(adapter());
    await beginToEnd(app);
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(3));
    await eventually(() => expect(calls).toBe(3));
    working.open();
    const answers = (await text(socket)).split('HTTP/1.1 200 OK').slice(1);
    expect(answers.map((answer) => /\r\nConnection: close\r\n/i.test(answer))).toEqual([false, false, true]);
  });

  it('answers all requests that a client had sent ahead when it began', async () => {
    const { app, port } = await run(adapter());
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(2));
    await eventually(() => expect(calls).toBe(2));
    await beginToEnd(app);
    socket.write('GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await eventually(() => expect(calls).toBe(3));
    working.open();
    const answers = (await text(socket)).split('HTTP/1.1 200 OK').slice(1);
    expect(answers.map((answer) => /\r\nConnection: close\r\n/i.test(answer))).toEqual([false, false, true]);
  });

  it('ends where a client had sent requests ahead, and sends nothing more', async () => {
    const { app, port } = await run(adapter());
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(2));
    await eventually(() => expect(calls).toBe(2));
    const { closed } = await beginToEnd(app);
    let received = '';
    socket.on('data', (part: Buffer) => (received += part.toString()));
    const disconnected = once(socket, 'close');
    working.open();
    await eventually(() => expect(received.match(/"done":true/g)).toHaveLength(2));
    ending.open();
    await Promise.all([closed, disconnected]);
  });

  it('ends although a kept-alive connection stays silent', async () => {
    const { app, port } = await run(adapter());
    const agent = keptAlive();
    await connectionOf({ port, agent });
    const { closed } = await beginToEnd(app);
    ending.open();
    await closed;
    await expect(head({ port })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it.each([
    ['a client has', undefined],
    ['a client of HTTPS has', { cert: CERTIFICATE, key: KEY }],
  ])('waits for no request where %s connected and sent nothing, as browsers do ahead', async (__, https) => {
    const log = new LogBook();
    const { app, port } = await run(adapter(https), {
      logger: log,
      ...(https && { httpsOptions: https }),
    });
    const socket = https ? connectTls({ port, ca: CERTIFICATE, host: 'localhost' }) : connect(port, '127.0.0.1');
    await once(socket.resume(), https ? 'secureConnect' : 'connect');
    await eventually(async () => expect(await connectionsOf(app)).toBe(1));
    const { closed } = await beginToEnd(app);
    ending.open();
    await closed;
    expect(log.lines.filter((line) => line.includes('drain deadline'))).toEqual([]);
  });

  it('waits for a request that has begun to arrive', async () => {
    const { app, port } = await run(adapter());
    const socket = connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: local');
    await eventually(async () => expect(await connectionsOf(app)).toBe(1));
    const { closed } = await beginToEnd(app);
    ending.open();
    await eventually(() => expect((app.getHttpServer() as Server).listening).toBe(false));
    socket.write('host\r\n\r\n');
    // Fastify turns away what arrives once it closes.
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 (?:200|503) /);
    await closed;
  });

  it('keeps a connection of an application beside it in the same process', async () => {
    const { app } = await run(adapter());
    const other = await NestFactory.create(Neighbour, adapter(), { logger: new LogBook() });
    ends.push(() => other.close());
    await other.listen(0, '127.0.0.1');
    const { port } = (other.getHttpServer() as Server).address() as AddressInfo;
    await beginToEnd(app);
    expect(await connectionOf({ port, agent: keptAlive() })).toBe('keep-alive');
  });

  it('leaves a WebSocket open and useful until Nest closes it, and takes new ones', async () => {
    const { app, port } = await run(adapter());
    const ask = async (): Promise<unknown> => {
      const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false });
      ends.push(() => socket.disconnect());
      const answered = new Promise((resolve) => socket.once('answer', resolve));
      socket.emit('ask', {});
      return answered;
    };
    expect(await ask()).toBe('still here');
    await beginToEnd(app);
    expect(await ask()).toBe('still here');
  });
});

describe('An application that ends', () => {
  it('tells the clients of its HTTPS server', async () => {
    const httpsOptions = { cert: CERTIFICATE, key: KEY };
    const { app, port } = await run(new ExpressAdapter(), { httpsOptions });
    const agent = new HttpsAgent({ keepAlive: true, maxSockets: 1, ca: CERTIFICATE });
    ends.push(() => agent.destroy());
    const ask = async (path: string): Promise<string | undefined> => {
      const sent = httpsGet({ host: 'localhost', family: 4, port, agent, path });
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      await text(response);
      return response.headers.connection;
    };
    expect(await ask('/')).toBe('keep-alive');
    const inFlight = ask('/work');
    await eventually(() => expect(calls).toBe(1));
    await beginToEnd(app);
    working.open();
    expect(await inFlight).toBe('close');
    expect(await ask('/')).toBe('close');
  });

  it.each<[string, () => { adapter: AbstractHttpAdapter; handler: () => RequestListener }]>([
    [
      'Express',
      () => {
        const adapter = new ExpressAdapter();
        return { adapter, handler: () => adapter.getInstance<RequestListener>() };
      },
    ],
    [
      'Fastify',
      () => {
        const adapter = new FastifyAdapter();
        return { adapter, handler: () => adapter.getInstance().routing };
      },
    ],
  ])('tells the clients of a second server before the same handlers (%s)', async (_, make) => {
    const { adapter, handler } = make();
    const { app } = await run(adapter);
    const second = createServer(handler());
    ends.push(() => second.close());
    await once(second.listen(0, '127.0.0.1'), 'listening');
    const { port } = second.address() as AddressInfo;
    const agent = keptAlive();
    expect(await connectionOf({ port, agent })).toBe('keep-alive');
    await beginToEnd(app);
    expect(await connectionOf({ port, agent })).toBe('close');
  });

  it('leaves HTTP/2 to its own way of ending', async () => {
    const adapter = new FastifyAdapter({ http2: true });
    const { app, port } = await run(adapter);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    ends.push(() => session.destroy());
    const ask = async (): Promise<string> => text(session.request({ ':path': '/' }).end());
    expect(await ask()).toBe('{"done":true}');
    await beginToEnd(app);
    expect(await ask()).toBe('{"done":true}');
  });

  it('goes on answering the messages of a hybrid application', async () => {
    const adapter = new ExpressAdapter();
    const { app, port } = await run(adapter);
    const options = { host: '127.0.0.1', port: await freePort() };
    app.connectMicroservice({ transport: Transport.TCP, options });
    await app.startAllMicroservices();
    const client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    ends.push(() => void client.close());
    const ask = (): Promise<unknown> => firstValueFrom(client.send<unknown>('ask', {}));
    expect(await ask()).toEqual({ done: true });
    await beginToEnd(app);
    expect(await ask()).toEqual({ done: true });
    expect(await connectionOf({ port, agent: keptAlive() })).toBe('close');
  });
});
