/**
 * Measuring on a noisy machine: subjects take turns within each round, so that what disturbs one disturbs all, and only
 * ratios within a round are compared.
 */

export interface Subject {
  readonly name: string;
  /** One measurement, in round 0 (which isn't counted), 1, … */
  measure(round: number): Promise<number> | number;
}

export interface Ratio {
  readonly median: number;
  /** 95 % interval of the median. */
  readonly low: number;
  readonly high: number;
}

/** A subject whose every measurement gives several figures. */
export interface ManifoldSubject<K extends string> {
  readonly name: string;
  measure(round: number): Promise<Readonly<Record<K, number>>>;
}

export class Rounds {
  readonly #values = new Map<string, number[]>();

  /** Runs `count` rounds after one that isn't counted; the order turns by one place each round. */
  static async run(subjects: readonly Subject[], count: number): Promise<Rounds> {
    const rounds = new Rounds();
    await inTurns(subjects, count, (name, value) => rounds.#add(name, value));
    return rounds;
  }

  /** The same for measurements that give several figures: a `Rounds` for each of them. */
  static async runManifold<K extends string>(
    subjects: readonly ManifoldSubject<K>[],
    figures: readonly K[],
    count: number,
  ): Promise<(figure: K) => Rounds> {
    const all = new Map(figures.map((figure) => [figure, new Rounds()]));
    await inTurns(subjects, count, (name, measured) => {
      for (const [figure, rounds] of all) rounds.#add(name, measured[figure]);
    });
    return (figure) => all.get(figure) ?? new Rounds();
  }

  /** The same rounds in another unit. */
  map(convert: (value: number) => number): Rounds {
    const converted = new Rounds();
    for (const [subject, values] of this.#values) converted.#values.set(subject, values.map(convert));
    return converted;
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

  #add(subject: string, value: number): void {
    const values = this.#values.get(subject);
    if (values === undefined) this.#values.set(subject, [value]);
    else values.push(value);
  }

  #of(subject: string): readonly number[] {
    const values = this.#values.get(subject);
    if (values === undefined) throw new Error(`"${subject}" was not measured`);
    return values;
  }
}

async function inTurns<T>(
  subjects: readonly { readonly name: string; measure(round: number): Promise<T> | T }[],
  count: number,
  measured: (name: string, value: T) => void,
): Promise<void> {
  for (let round = -1; round < count; round++) {
    const turn = (round + 1) % subjects.length;
    for (const subject of [...subjects.slice(turn), ...subjects.slice(0, turn)]) {
      globalThis.gc?.();
      const value = await subject.measure(round + 1);
      if (round >= 0) measured(subject.name, value);
    }
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
