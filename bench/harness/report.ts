/**
 * Collects rows and says of each claim whether it was met.
 */
import type { Rounds } from './rounds.js';
import { OURS, type Row } from './rows.js';

/** "At least 1.0" counts as met when the interval's lower end is at least this share of it: the machine is noisy. */
const TOLERANCE = 0.95;

export class Report {
  readonly rows: Row[] = [];
  readonly #bench: string;

  constructor(bench: string) {
    this.#bench = bench;
  }

  add(row: Omit<Row, 'bench'>): void {
    this.rows.push({ bench: this.#bench, ...row });
  }

  /** Rows for every subject's median. */
  addRounds(rounds: Rounds, load: string, unit: string, better: 'higher' | 'lower'): void {
    for (const subject of rounds.subjects)
      this.add({ case: load, subject, value: rounds.median(subject), unit, better });
  }

  /**
   * Compares ours with the best of `peers`, and the ratio with what is claimed; `figure` says of what, where one load
   * has several.
   */
  claimRatio(
    rounds: Rounds,
    load: string,
    better: 'higher' | 'lower',
    peers: readonly string[],
    claim: number,
    subject = OURS,
    figure = '',
  ): void {
    const peer = rounds.best(better, peers);
    const ratio = rounds.ratio(subject, peer);
    const met = better === 'higher' ? ratio.low >= claim * TOLERANCE : ratio.high <= claim / TOLERANCE;
    const unit = figure === '' ? 'ratio' : `ratio of ${figure}`;
    this.add({ case: load, subject: `${subject} ÷ ${peer}`, value: ratio.median, unit, better });
    const words = better === 'higher' ? 'at least' : 'at most';
    console.log(
      `  ${met ? 'met    ' : 'NOT MET'}  ${load}: ${ratio.median.toFixed(2)} of ${peer}${figure === '' ? '' : `'s ${figure}`} [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}], claimed ${words} ${claim}`,
    );
  }

  /** Compares two subjects without a claim: what a claim is to be seen beside. */
  addRatio(rounds: Rounds, load: string, better: 'higher' | 'lower', subject: string, peer: string): void {
    const ratio = rounds.ratio(subject, peer);
    this.add({ case: load, subject: `${subject} ÷ ${peer}`, value: ratio.median, unit: 'ratio', better });
    console.log(
      `           ${load}: ${subject} is ${ratio.median.toFixed(2)} of ${peer} [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}]`,
    );
  }

  /** Compares a figure with a bound. */
  claim(load: string, value: number, better: 'higher' | 'lower', bound: number, unit: string, subject = OURS): void {
    const met = better === 'higher' ? value >= bound : value <= bound;
    this.add({ case: load, subject, value, unit, better });
    const words = better === 'higher' ? 'at least' : 'at most';
    console.log(
      `  ${met ? 'met    ' : 'NOT MET'}  ${load}: ${value.toPrecision(4)} ${unit}, claimed ${words} ${bound.toPrecision(4)}`,
    );
  }
}
