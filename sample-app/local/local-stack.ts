/**
 * Everything the service needs on one machine: PostgreSQL, Redis, billing, and the service in a process of its own.
 *
 * Promise: `stop()`, and a start that fails, leave no process and no temporary directory behind.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { freePort, providePostgres, provideRedis } from '../../test/support/servers/index.js';
import { startBilling } from '../billing/billing-server.js';

/** Compiled beside compiled code, a source beside a source. */
const SERVICE = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url));
const DEFAULT_PORT = 3_000;
/** The service has five seconds for work in flight; after three times that it is stuck. */
const STOP_WITHIN_MS = 15_000;

export interface LocalStack {
  /** Of the service. */
  readonly url: string;
  readonly billingUrl: string;
  /** Whether the port that was asked for was taken. */
  readonly otherPort: boolean;
  /** Resolves with its exit code when the service has ended, for any reason. */
  readonly ended: Promise<number>;
  /** Ends the service, then the servers. Resolves with the service's exit code. */
  stop(): Promise<number>;
}

export interface LocalStackOptions {
  /** Gets each line that the service prints. Default: it prints to this process's own output. */
  readonly onLine?: (line: string) => void;
  /** Aborts a start that is under way. */
  readonly signal?: AbortSignal;
}

/**
 * Starts all of it. `DATABASE_URL` and `REDIS_URL` name servers to use instead of own ones, `PORT` where the service
 * listens.
 *
 * @throws Error when one of these is malformed, or when something could not be started; nothing is left running then.
 */
export async function startLocalStack({ onLine, signal }: LocalStackOptions = {}): Promise<LocalStack> {
  const wantedPort = portOf(process.env.PORT);
  requireUrl('DATABASE_URL', 'postgres://user:password@localhost:5432/orders');
  requireUrl('REDIS_URL', 'redis://localhost:6379');
  // Started together: the database takes longest.
  const servers = [providePostgres(), provideRedis(), startBilling()] as const;
  const stopServers = async (): Promise<void> => {
    // The servers that have started are stopped, also when another start failed.
    for (const start of await Promise.allSettled(servers)) if (start.status === 'fulfilled') await start.value.stop();
  };
  try {
    const [postgres, redis, billing] = await Promise.all(servers);
    signal?.throwIfAborted();
    const port = await freePortLike(wantedPort);
    const addresses = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      BILLING_URL: billing.url,
      PORT: String(port),
    };
    const service = await startService(addresses, onLine, signal);
    let stopping: Promise<number> | undefined;
    const stop = async (): Promise<number> => {
      await endService(service);
      await stopServers();
      return service.ended;
    };
    return {
      url: service.url,
      billingUrl: billing.url,
      otherPort: port !== wantedPort,
      ended: service.ended,
      stop: () => (stopping ??= stop()),
    };
  } catch (error) {
    await stopServers();
    throw error;
  }
}

interface Service {
  readonly process: ChildProcess;
  readonly url: string;
  readonly ended: Promise<number>;
}

async function startService(
  addresses: Readonly<Record<string, string>>,
  onLine: ((line: string) => void) | undefined,
  signal: AbortSignal | undefined,
): Promise<Service> {
  const output = onLine === undefined ? 'inherit' : 'pipe';
  const service = fork(SERVICE, {
    // Lines that a program reads have no use for colours.
    env: { ...process.env, ...addresses, ...(onLine !== undefined && { NO_COLOR: '1' }) },
    stdio: ['ignore', output, output, 'ipc'],
    // A group of its own: Ctrl-C reaches this process, which passes it on once.
    detached: true,
  });
  for (const stream of [service.stdout, service.stderr]) {
    if (stream !== null && onLine !== undefined) createInterface({ input: stream }).on('line', onLine);
  }
  // Not 'exit', which may come before the last lines of its output.
  const ended = once(service, 'close').then(([code]) => (typeof code === 'number' ? code : 1));
  const messages = once(service, 'message', signal === undefined ? {} : { signal });
  try {
    const first = await Promise.race([messages, ended]);
    if (typeof first === 'number')
      throw new Error(`The service ended with exit code ${first} before it was listening; its own output says why.`);
    const { url } = first[0] as { readonly url: string };
    return { process: service, url, ended };
  } catch (error) {
    messages.catch(() => undefined);
    await endService({ process: service, ended });
    throw error;
  }
}

async function endService({ process: service, ended }: Omit<Service, 'url'>): Promise<void> {
  service.kill('SIGTERM');
  const impatience = setTimeout(() => service.kill('SIGKILL'), STOP_WITHIN_MS);
  await ended;
  clearTimeout(impatience);
}

function portOf(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_PORT;
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new Error(`PORT must be a whole number from 1 to 65535, not "${text}"`);
}

/** Its value is not repeated in the message: there may be a password in it. */
function requireUrl(variable: string, example: string): void {
  const value = process.env[variable];
  if (value && !URL.canParse(value)) {
    throw new Error(`${variable} is not a URL; write it like ${example}, or unset it to get a server of its own`);
  }
}

/** `wanted` if no process listens there, else some free port. */
async function freePortLike(wanted: number): Promise<number> {
  const probe = createServer();
  try {
    probe.listen(wanted, '127.0.0.1');
    await once(probe, 'listening');
    return wanted;
  } catch {
    return await freePort();
  } finally {
    if (probe.listening) await new Promise((closed) => probe.close(closed));
  }
}
