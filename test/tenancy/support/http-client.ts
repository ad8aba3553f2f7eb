// A client that sends what it is told to, repeated headers included, and can leave in the middle of an answer.
import { once } from 'node:events';
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';

export interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  readonly agent?: Agent;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends a request and reads the whole answer. */
export async function send(url: string, sent: Sent = {}): Promise<Answer> {
  const { response } = await open(url, sent);
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) };
}

/** Sends a request and returns when the head of the answer is there. */
export async function open(url: string, sent: Sent = {}): Promise<{ response: IncomingMessage; leave: () => void }> {
  const client = begin(url, sent);
  const [response] = (await once(client, 'response')) as [IncomingMessage];
  return { response, leave: () => client.destroy() };
}

/** Sends a request and waits for nothing. */
export function begin(
  url: string,
  { method = 'GET', headers = {}, body, agent }: Sent = {},
): ReturnType<typeof request> {
  const client = request(url, { method, ...(agent === undefined ? { agent: false } : { agent }) });
  for (const [name, value] of Object.entries(headers)) client.setHeader(name, value);
  client.end(body);
  return client;
}

export function json(answer: Answer): unknown {
  return JSON.parse(answer.body);
}
