// A server that speaks RESP2 and answers what a test tells it to: for what a real Redis says only on a bad day.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

export interface OddServer extends AsyncDisposable {
  readonly url: string;
  /** What it answers to a command, in RESP; undefined: nothing at all. Without it: what a healthy server says. */
  answer: ((name: string, args: readonly string[], socket: Socket) => string | undefined) | undefined;
  /** What it says to a new connection, before it is asked. */
  greeting: string;
  readonly sockets: ReadonlySet<Socket>;
  /** Commands it has got, in lower case. */
  readonly commands: readonly string[];
  /** Connections that it has accepted. */
  readonly accepted: number;
}

export const ok = '+OK\r\n';
export const pong = '+PONG\r\n';
export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** What a server without data says. */
export function ordinary(name: string): string {
  if (name === 'hello') return "-ERR unknown command 'HELLO'\r\n";
  if (name === 'ping') return pong;
  if (name === 'info') return bulk('redis_version:7.0.0\r\nloading:0\r\n');
  if (name === 'get') return '$-1\r\n';
  return ok;
}

/** The answers of a cluster that has this server and no other. */
export function clusterOf(server: { readonly url: string }): (name: string, args: readonly string[]) => string {
  const { hostname, port } = new URL(server.url);
  return (name, [subcommand = '']) => {
    if (name !== 'cluster') return ordinary(name);
    if (subcommand.toLowerCase() === 'info') return bulk('cluster_state:ok\r\n');
    return `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${bulk(hostname)}:${port}\r\n${bulk('id')}`;
  };
}

export async function oddServer(): Promise<OddServer> {
  const sockets = new Set<Socket>();
  const commands: string[] = [];
  let accepted = 0;
  const server: Server = createServer((socket) => {
    accepted++;
    sockets.add(socket);
    if (result.greeting !== '') socket.write(result.greeting);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (;;) {
        const parsed = parse(text);
        if (parsed === undefined) return;
        text = text.slice(parsed.length);
        const [name = '', ...args] = parsed.words;
        commands.push(name.toLowerCase());
        const answer = (result.answer ?? ordinary)(name.toLowerCase(), args, socket);
        if (answer !== undefined) socket.write(answer);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  const result: OddServer = {
    url: `redis://127.0.0.1:${address.port}`,
    answer: undefined,
    greeting: '',
    sockets,
    commands,
    get accepted() {
      return accepted;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return result;
}

/** The first command of `text`, when it is whole. */
function parse(text: string): { readonly words: readonly string[]; readonly length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let at = head[0].length;
  const words: string[] = [];
  for (let left = Number(head[1]); left > 0; left--) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at));
    if (size === null) return undefined;
    const start = at + size[0].length;
    const end = start + Number(size[1]);
    if (text.length < end + 2) return undefined;
    words.push(text.slice(start, end));
    at = end + 2;
  }
  return { words, length: at };
}
