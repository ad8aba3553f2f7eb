/** @import { Result } from '../scaffolds.mjs' */

const KINDS = {
  readme: 'quick start',
  'every-kind': 'all',
  'only-pg': 'pg, no Terminus',
  'only-redis': 'redis',
  'only-http': 'http',
};

/**
 * What came of the runs, one a row.
 *
 * @param {readonly Result[]} results
 * @returns {string} a table of Markdown, with columns of one width
 */
export function table(results) {
  const heading = ['scaffold', 'modules', 'platform', 'kinds', 'compile', 'tests', 'first answer', 'seconds'];
  const rows = results.map(({ scaffold, run, compile, tests, answer, seconds, failure }) => [
    scaffold.name,
    run.modules,
    run.platform ?? 'Express',
    `${KINDS[run.application]}${run.bundle === undefined ? '' : `; bundle, drivers ${run.bundle}`}`,
    compile ?? '',
    tests ?? '',
    answer ?? (failure === undefined ? '' : 'FAILED'),
    seconds === undefined ? '' : seconds.toFixed(1),
  ]);
  const widths = heading.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (/** @type {readonly string[]} */ cells) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(heading), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
