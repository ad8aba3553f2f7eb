/**
 * The tables of metrics in the reference (docs/05-reference/metrics.md), made from the list that the metrics themselves
 * are made from.
 *
 * Usage: node scripts/metrics-table.mjs [--check] [file] With --check nothing is written; exits with 1 when the file is
 * out of date.
 */
// The sources, and not what was last built of them.
import '../test/support/typescript/register.mjs';

import { writeGenerated } from './generated-part.mjs';

/** @typedef {{ name: string, type: string, help: string, labels: readonly string[] }} Metric */

/** @type {{ poolMetrics: readonly Metric[], tenantMetrics: readonly Metric[], POOL_LABELS: readonly string[] }} */
const { poolMetrics, tenantMetrics, POOL_LABELS } = await import(
  new URL('../lib/observability/pool-metrics.ts', import.meta.url).href
);

writeGenerated({
  name: 'metrics',
  defaultFile: 'docs/05-reference/metrics.md',
  parts: [
    `## Of each pool\n\n${tableOf(poolMetrics)}`,
    `## Of each pool's busiest tenants\n\nWith \`tenants: { top: … }\` only.\n\n${tableOf(tenantMetrics)}`,
  ],
});

/**
 * @param {readonly Metric[]} metrics
 * @returns {string} as a table of Markdown
 */
function tableOf(metrics) {
  const rows = metrics.map(({ name, type, labels, help }) => {
    const all = [...POOL_LABELS, ...labels].map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${all} | ${help} |\n`;
  });
  return `| Metric | Type | Labels | What it is |\n| --- | --- | --- | --- |\n${rows.join('')}`;
}
