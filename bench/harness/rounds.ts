/**
 * Measuring on a noisy machine: subjects take turns within each round, so that what disturbs one disturbs all, and only
 * ratios within a round are compared.
 */

export interface Subject {
  readonly name: string;
  /** One measurement. */
  measure(): Promise<number> | number;
}

export interface Ratio {
  readonly median: number;
  /** 95 % interval of the median. */
  readonly low: number;
  readonly high: number;
}

export class Rounds {
  readonly #values = new Map<string, number[]>();

  /** Runs `count` rounds after one that isn't counted; the order turns by one place each round. */
  static async run(subjects: readonly Subject[], count: number): Promise<Rounds> {
    const rounds = new Rounds();
    for (let round = -1; round < count; round++) {
      const turn = (round + 1) % subjects.length;
      for (const subject of [...subjects.slice(turn), ...subjects.slice(0, turn)]) {
        globalThis.gc?.();
        const value = await subject.measure();
        if (round < 0) continue;
        const values = rounds.#values.get(subject.name) ?? [];
        values.push(value);
        rounds.#values.set(subject.name, values);
      }
    }
    return rounds;
  }

  get subjects(): readonly string[] {
    return [...this.#values.keys()];
  }

  median(subject: string): number {
    return median(this.#of(subject));
  }

  /** Pairwise ratio of `subject` to `peer`, round by round. */
  ratio(subject: string, peer: string): Ratio {
    const peers = this.#of(peer);
    const ratios = this.#of(subject).map((value, round) => value / (peers[round] ?? Number.NaN));
    return medianInterval(ratios);
  }

  /** The peer with the best median. */
  best(better: 'higher' | 'lower', among: readonly string[]): string {
    const sorted = [...among].sort((a, b) => this.median(a) - this.median(b));
    const best = better === 'higher' ? sorted.at(-1) : sorted[0];
    if (best === undefined) throw new Error('there are no peers to compare with');
    return best;
  }

  #of(subject: string): readonly number[] {
    const values = this.#values.get(subject);
    if (values === undefined) throw new Error(`"${subject}" was not measured`);
    return values;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** The median with its 95 % interval from order statistics: no assumption about how the values are distributed. */
export function medianInterval(values: readonly number[]): Ratio {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  // Ranks at which a binomial(n, ½) leaves at most 2.5 % on each side.
  let tail = 0;
  let rank = 0;
  let probability = 0.5 ** n;
  while (rank < n / 2) {
    tail += probability;
    if (tail > 0.025) break;
    probability *= (n - rank) / (rank + 1);
    rank++;
  }
  const low = sorted[Math.max(0, rank - 1)] ?? Number.NaN;
  const high = sorted[Math.min(n - 1, n - rank)] ?? Number.NaN;
  return { median: median(sorted), low, high };
}
