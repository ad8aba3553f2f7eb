/**
 * What a benchmark reports, in the form that `--json` writes.
 */

/** One figure of one subject. */
export interface Row {
  readonly bench: string;
  /** The load, in plain words. */
  readonly case: string;
  /** A package's name; `ceiling: …` for what is no pool. */
  readonly subject: string;
  readonly value: number;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
}

/** The subject under which our own figures go. */
export const OURS = 'nestjs-pool-manager';

/** Prints rows as tables, one a case and unit. */
export function printRows(rows: readonly Row[]): void {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${row.case}  [${row.unit}, ${row.better} is better]`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  for (const [title, group] of groups) {
    console.log(`\n  ${title}`);
    for (const row of group) console.log(`    ${row.subject.padEnd(42)} ${format(row.value).padStart(14)}`);
  }
}

export function format(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const digits = Math.abs(value) >= 1_000 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits === 3 ? 3 : 0 });
}
