// A TCP proxy between a client and a server that makes the network fail on demand: latency, resets, replies cut in the
// middle, bytes in slices, a black hole, refused connections, another server behind the same address. It counts what
// passes, round trips included.
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';

import { freePort, LOOPBACK } from './free-port.js';

/** Where a connection is forwarded to. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What has passed since the start or the last `resetCounters`; live. */
export interface ProxyCounters {
  /** Connections that were accepted. */
  readonly accepted: number;
  /** Connections that are open now. */
  readonly open: number;
  readonly bytesToServer: number;
  readonly bytesToClient: number;
  /** How often, over all connections, a client spoke after its server had (its first words count). */
  readonly roundTrips: number;
}

export interface FaultProxy extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Where new connections go. */
  readonly target: Target;
  readonly counters: ProxyCounters;
  resetCounters(): void;
  /**
   * Delays what arrives from now on, in milliseconds; a number is for each way. Timers being what they are, at least 1
   * ms.
   */
  latency(ms: number | { readonly toServerMs?: number; readonly toClientMs?: number }): void;
  /** Resets (RST) every open connection, on both sides. Returns how many. */
  reset(): number;
  /** Lets every connection, open or new, pass so many further bytes of replies, and then resets it. */
  cutReplyAfter(bytes: number): void;
  /** Forwards both ways in pieces of so many bytes; `undefined`: as they come. */
  slice(bytes: number | undefined): void;
  /**
   * From now on nothing is forwarded any more, not even the end of a connection. New connections are accepted, and
   * wait.
   */
  blackHole(): void;
  /** New connections get ECONNREFUSED; open ones go on. */
  refuse(): void;
  /** New connections go to another server; open ones stay where they are. */
  switchTo(target: Target): void;
  /** No faults and the first target again. What a black hole has swallowed is forwarded now. */
  restore(): Promise<void>;
  /** Resolves once exactly `count` connections are open. */
  waitForOpen(count: number): Promise<void>;
  close(): Promise<void>;
}

/** The faults in force. One object for all connections, read whenever something is forwarded. */
class Faults {
  toServerMs = 0;
  toClientMs = 0;
  sliceBytes: number | undefined;
  cutAfterBytes: number | undefined;
  /** Changes with every call of `cutReplyAfter`, so that each connection starts counting anew. */
  cutEpoch = 0;
  #hole: { readonly closed: Promise<void>; close(): void } | undefined;

  /** Settled unless a black hole is open. */
  get passable(): Promise<void> | undefined {
    return this.#hole?.closed;
  }

  openHole(): void {
    if (this.#hole) return;
    let close = () => {};
    const closed = new Promise<void>((resolve) => (close = resolve));
    this.#hole = { closed, close };
  }

  clear(): void {
    this.toServerMs = this.toClientMs = 0;
    this.sliceBytes = this.cutAfterBytes = undefined;
    this.cutEpoch++;
    this.#hole?.close();
    this.#hole = undefined;
  }

  get none(): boolean {
    return (
      this.toServerMs === 0 &&
      this.toClientMs === 0 &&
      this.sliceBytes === undefined &&
      this.cutAfterBytes === undefined &&
      this.#hole === undefined
    );
  }
}

class Counters implements ProxyCounters {
  accepted = 0;
  bytesToServer = 0;
  bytesToClient = 0;
  roundTrips = 0;
  readonly #links: ReadonlySet<Link>;

  constructor(links: ReadonlySet<Link>) {
    this.#links = links;
  }

  get open(): number {
    return this.#links.size;
  }

  reset(): void {
    this.accepted = this.bytesToServer = this.bytesToClient = this.roundTrips = 0;
  }
}

/**
 * Resolves once what was written before can have been read by a client in this process: a whole turn of the event loop.
 */
async function readable(): Promise<void> {
  // The first immediate may come before the next poll for input; the second can't.
  await nextTurn();
  await nextTurn();
}

/** Something on its way: bytes, or the end of the stream. */
interface Parcel {
  readonly bytes: Buffer | undefined;
  readonly arrivedAt: number;
}

/** One direction of one connection: keeps the order, whatever happens to the bytes. */
class Lane {
  readonly #faults: Faults;
  readonly #toClient: boolean;
  readonly #write: (bytes: Buffer | undefined) => Promise<void> | undefined;
  readonly #cut: () => void;
  readonly #signal: AbortSignal;
  readonly #waiting: Parcel[] = [];
  #moving = false;
  #cutEpoch = -1;
  #passedSinceCut = 0;

  constructor(
    faults: Faults,
    toClient: boolean,
    /** Writes bytes, or the end; a promise when the writer has to wait. */
    write: (bytes: Buffer | undefined) => Promise<void> | undefined,
    cut: () => void,
    signal: AbortSignal,
  ) {
    this.#faults = faults;
    this.#toClient = toClient;
    this.#write = write;
    this.#cut = cut;
    this.#signal = signal;
  }

  put(bytes: Buffer | undefined): void {
    this.#waiting.push({ bytes, arrivedAt: performance.now() });
    if (this.#moving) return;
    this.#moving = true;
    this.#move()
      // The connection has gone meanwhile.
      .catch(() => {})
      .finally(() => (this.#moving = false));
  }

  async #move(): Promise<void> {
    for (let parcel = this.#waiting.shift(); parcel; parcel = this.#waiting.shift()) {
      const latencyMs = this.#toClient ? this.#faults.toClientMs : this.#faults.toServerMs;
      const restMs = parcel.arrivedAt + latencyMs - performance.now();
      if (latencyMs > 0 && restMs > 0) await delay(restMs, undefined, { signal: this.#signal });
      await this.#faults.passable;
      if (this.#signal.aborted) return;
      if (this.#faults.none || !parcel.bytes) await this.#write(parcel.bytes);
      else await this.#forward(parcel.bytes);
    }
  }

  async #forward(bytes: Buffer): Promise<void> {
    const size = this.#faults.sliceBytes ?? bytes.length;
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      const rest = this.#restBeforeCut();
      if (rest <= piece.length) {
        if (rest > 0) await this.#write(piece.subarray(0, rest));
        await readable();
        this.#cut();
        return;
      }
      this.#passedSinceCut += piece.length;
      await this.#write(piece);
      if (this.#faults.sliceBytes !== undefined) await readable();
    }
  }

  #restBeforeCut(): number {
    const { cutAfterBytes, cutEpoch } = this.#faults;
    if (!this.#toClient || cutAfterBytes === undefined) return Infinity;
    if (this.#cutEpoch !== cutEpoch) {
      this.#cutEpoch = cutEpoch;
      this.#passedSinceCut = 0;
    }
    return cutAfterBytes - this.#passedSinceCut;
  }
}

/** One connection: a socket to the client, a socket to the server, a lane each way. */
class Link {
  readonly #client: Socket;
  readonly #serverReady: Promise<Socket | undefined>;
  #server: Socket | undefined;
  readonly #over = new AbortController();
  readonly #ended: () => void;

  constructor(client: Socket, target: Target, faults: Faults, counters: Counters, ended: () => void) {
    this.#client = client;
    this.#ended = ended;
    client.setNoDelay(true);
    const { signal } = this.#over;
    let clientSpoke = false;

    const toServer = new Lane(
      faults,
      false,
      (bytes) => {
        counters.bytesToServer += bytes?.length ?? 0;
        return this.#server
          ? this.#send(this.#server, bytes)
          : this.#serverReady.then((server) => this.#send(server, bytes));
      },
      () => this.reset(),
      signal,
    );
    const toClient = new Lane(
      faults,
      true,
      (bytes) => {
        // Now, and not when it came from the server: what the client says before it has heard this is no answer to it.
        clientSpoke = false;
        counters.bytesToClient += bytes?.length ?? 0;
        return this.#send(this.#client, bytes);
      },
      () => this.reset(),
      signal,
    );
    // A side that is gone is news that travels as everything else does: not through a black hole.
    const lost = async () => {
      await faults.passable;
      this.reset();
    };
    const watch = (socket: Socket, lane: Lane) => {
      socket.on('end', () => lane.put(undefined));
      socket.on('error', () => void lost());
      socket.on('close', (hadError) => {
        if (hadError) return;
        // Both directions have ended in good order, or it was destroyed by us.
        if (this.#client.destroyed && this.#server?.destroyed !== false) this.#finish();
      });
    };

    client.on('data', (bytes) => {
      if (!clientSpoke) counters.roundTrips++;
      clientSpoke = true;
      toServer.put(bytes);
    });
    watch(client, toServer);

    this.#serverReady = (async () => {
      await faults.passable;
      if (signal.aborted) return undefined;
      const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
      this.#server = server;
      server.on('data', (bytes) => toClient.put(bytes));
      watch(server, toClient);
      return server;
    })();
  }

  /** Ends both sides with RST. */
  reset(): void {
    if (this.#over.signal.aborted) return;
    this.#client.resetAndDestroy();
    // A connection that was never made has nothing to reset.
    if (this.#server?.connecting) this.#server.destroy();
    else this.#server?.resetAndDestroy();
    this.#finish();
  }

  #finish(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#ended();
  }

  #send(socket: Socket | undefined, bytes: Buffer | undefined): Promise<void> | undefined {
    if (!socket || socket.destroyed) return undefined;
    if (!bytes) {
      socket.end();
      return undefined;
    }
    if (socket.write(bytes)) return undefined;
    return once(socket, 'drain', { signal: this.#over.signal }).then(() => {});
  }
}

/** Starts a proxy in front of `target`, without any fault yet. */
export async function startFaultProxy({ target: first }: { readonly target: Target }): Promise<FaultProxy> {
  const faults = new Faults();
  const links = new Set<Link>();
  const counters = new Counters(links);
  const changes = new EventEmitter();
  let target = first;
  let listener: Server | undefined;

  const accept = (client: Socket) => {
    counters.accepted++;
    const link: Link = new Link(client, target, faults, counters, () => {
      links.delete(link);
      changes.emit('open');
    });
    links.add(link);
    changes.emit('open');
  };
  const listen = async (onPort: number) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
    server.listen({ host: LOOPBACK, port: onPort });
    await once(server, 'listening');
    listener = server;
  };
  const port = await freePort();
  await listen(port);

  const close = async () => {
    const closed = listener && once(listener, 'close');
    listener?.close();
    listener = undefined;
    for (const link of links) link.reset();
    faults.clear();
    await closed;
  };

  return {
    host: LOOPBACK,
    port,
    get target() {
      return target;
    },
    counters,
    resetCounters: () => counters.reset(),
    latency: (ms) => {
      const each = typeof ms === 'number' ? { toServerMs: ms, toClientMs: ms } : ms;
      faults.toServerMs = each.toServerMs ?? 0;
      faults.toClientMs = each.toClientMs ?? 0;
    },
    reset: () => {
      const open = [...links];
      for (const link of open) link.reset();
      return open.length;
    },
    cutReplyAfter: (bytes) => {
      faults.cutAfterBytes = bytes;
      faults.cutEpoch++;
    },
    slice: (bytes) => {
      faults.sliceBytes = bytes;
    },
    blackHole: () => faults.openHole(),
    refuse: () => {
      // The socket stops listening in this very call.
      listener?.close();
      listener = undefined;
    },
    switchTo: (other) => {
      target = other;
    },
    restore: async () => {
      faults.clear();
      target = first;
      if (!listener) await listen(port);
    },
    waitForOpen: async (count) => {
      while (links.size !== count) await once(changes, 'open');
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
