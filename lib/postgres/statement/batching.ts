/**
 * How many one-shot statements of a tenant travel in one packet.
 *
 * Statements that wait for a connection go together, in the lease that is granted to the first of them. A statement
 * behind a slow one waits for it, which it would not do on a connection of its own; so a batch is only as large as is
 * expected to last {@link BATCH_MS} beyond a round trip. What a statement costs is the highest of the tenant's recent
 * costs: each that has been measured since lowers it by {@link FADING}. One slow statement in a thousand is enough to
 * keep the others apart: that many would be a hundredth of those that wait behind another, and decide their p99.
 *
 * What a round trip takes is the shortest that the pool has seen recently, of any tenant.
 */
import type { TenantMemory } from '../../engine/lease.js';

/** How long a batch may be expected to last beyond a round trip, in milliseconds. */
const BATCH_MS = 4;
/** What a measured cost loses with each later statement: a cost of 200 ms is forgotten after about 700 of them. */
const FADING = 0.006;
/** How fast the round trip follows when it becomes longer. */
const ROUND_TRIP_GROWTH = 0.001;

export class Batching {
  /** Statements in one batch at most. */
  readonly most: number;
  #roundTripMs = Infinity;

  /** @param most statements in one batch; 1: each goes alone. */
  constructor(most: number) {
    this.most = most;
  }

  /** How many statements of a tenant a batch may have. */
  sizeFor({ memory }: TenantMemory): number {
    if (!(memory instanceof StatementCost)) return 1;
    return Math.max(1, Math.min(this.most, Math.floor(BATCH_MS / memory.ms)));
  }

  /** So many statements of a tenant have taken so long, from the first byte to the last answer. */
  measured(tenant: TenantMemory, count: number, tookMs: number): void {
    if (tookMs < this.#roundTripMs) this.#roundTripMs = tookMs;
    else this.#roundTripMs += ROUND_TRIP_GROWTH * (tookMs - this.#roundTripMs);
    const costMs = (tookMs - this.#roundTripMs) / count;
    if (tenant.memory instanceof StatementCost) tenant.memory.add(costMs, count);
    else tenant.memory = new StatementCost(costMs);
  }
}

/** The highest of the recent costs of a tenant's statements, in milliseconds. */
class StatementCost {
  #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
  }

  get ms(): number {
    return this.#ms;
  }

  add(costMs: number, count: number): void {
    this.#ms = Math.max(costMs, this.#ms * (1 - FADING) ** count);
  }
}

/** Neither opens, ends nor moves a transaction, nor does anything but read and write rows. */
const PLAIN = /^(?:select|insert|update|delete|merge|with|values|table)\b/i;
const SPACE_OR_COMMENT = /\s+|--[^\n\r]*|\/\*/y;

/** @returns whether another statement may be sent behind `text` before it is answered. */
export function isPlainStatement(text: string): boolean {
  return PLAIN.test(text) || PLAIN.test(text.slice(endOfComments(text)));
}

/** Where the first word is. Comments nest. */
function endOfComments(text: string): number {
  let at = 0;
  for (;;) {
    SPACE_OR_COMMENT.lastIndex = at;
    const found = SPACE_OR_COMMENT.exec(text)?.[0];
    if (found === undefined) return at;
    at += found.length;
    if (found === '/*') at = endOfComment(text, at);
  }
}

const OPENS_OR_CLOSES = /\/\*|\*\//g;

function endOfComment(text: string, from: number): number {
  OPENS_OR_CLOSES.lastIndex = from;
  let depth = 1;
  while (depth > 0) {
    const found = OPENS_OR_CLOSES.exec(text);
    if (found === null) return text.length;
    depth += found[0] === '/*' ? 1 : -1;
  }
  return OPENS_OR_CLOSES.lastIndex;
}
