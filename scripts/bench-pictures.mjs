/**
 * Draws what `npm run bench -- … --json FILE` has measured: a bar for each subject, in groups by load.
 *
 * Usage: node scripts/bench-pictures.mjs FILE … Writes docs/06-considerations/bench-<benchmark>.svg for each benchmark
 * in the files that has a picture below.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** @typedef {{ bench: string, case: string, subject: string, value: number, unit: string }} Row */

/**
 * @typedef {object} Picture
 * @property {string} title
 * @property {string} unit of the rows that are drawn
 * @property {readonly string[]} cases
 * @property {readonly (readonly [subject: string, label: string])[]} subjects ours first
 */

/** @type {Readonly<Record<string, Picture>>} */
const pictures = {
  postgres: {
    title: 'PostgreSQL: queries a second, 10 connections',
    unit: 'queries/s',
    cases: ['10 callers', '100 callers', '100 callers, 1 ms away'],
    subjects: [
      ['nestjs-pool-manager', 'nestjs-pool-manager'],
      ['pg-pool', 'pg-pool'],
      ['postgres.js', 'postgres.js'],
    ],
  },
  redis: {
    title: 'Redis: GET commands a second, one connection',
    unit: 'commands/s',
    cases: ['1 caller', '10 callers', '100 callers'],
    subjects: [
      ['nestjs-pool-manager client', 'nestjs-pool-manager'],
      ['ioredis with commandTimeout', 'ioredis, commandTimeout'],
      ['ioredis', 'ioredis'],
    ],
  },
  http: {
    title: 'HTTP: requests a second, small JSON',
    unit: 'requests/s',
    cases: ['small JSON, 1 caller', 'small JSON, 50 callers'],
    subjects: [
      ['nestjs-pool-manager request()', 'pool.request'],
      ['nestjs-pool-manager axiosRef', 'pool.axiosRef'],
      ['axios', 'axios'],
      ['HttpService', 'HttpService'],
    ],
  },
};

const WIDTH = 720;
const LABELS = 190;
const BAR = 18;
const GAP = 6;
const COLOURS = ['#2563eb', '#94a3b8', '#cbd5e1', '#e2e8f0'];

/** @type {Row[]} */
const rows = process.argv.slice(2).flatMap((file) => JSON.parse(readFileSync(file, 'utf8')));
for (const [bench, picture] of Object.entries(pictures)) {
  const own = rows.filter((row) => row.bench === bench && row.unit === picture.unit);
  if (own.length === 0) continue;
  const file = new URL(`../docs/06-considerations/bench-${bench}.svg`, import.meta.url);
  writeFileSync(file, draw(picture, own));
  console.log(fileURLToPath(file));
}

/**
 * @param {Picture} picture
 * @param {readonly Row[]} measured
 * @returns {string}
 */
function draw({ title, cases, subjects }, measured) {
  const groups = cases.map((load) => ({
    load,
    bars: subjects.flatMap(([subject, label], at) => {
      const row = measured.find((one) => one.case === load && one.subject === subject);
      return row === undefined ? [] : [{ label, value: row.value, colour: COLOURS[at] ?? '#e2e8f0' }];
    }),
  }));
  const drawn = groups.filter(({ bars }) => bars.length > 0);
  let y = 44;
  const parts = drawn.map(({ load, bars }) => {
    const most = Math.max(...bars.map(({ value }) => value));
    const head = text(0, y, load, 'font-weight="600"');
    y += 12;
    const lines = bars.map(({ label, value, colour }) => {
      const width = Math.max(1, ((WIDTH - LABELS - 80) * value) / most);
      const line = [
        text(LABELS - 8, y + BAR - 5, label, 'text-anchor="end"'),
        `<rect x="${LABELS}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${colour}"/>`,
        text(LABELS + width + 6, y + BAR - 5, Math.round(value).toLocaleString('en-US')),
      ].join('\n');
      y += BAR + GAP;
      return line;
    });
    y += 22;
    return [head, ...lines].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${title}">
<style>text { font: 13px system-ui, sans-serif; fill: #475569 }</style>
${text(0, 18, title, 'style="font-size: 16px; font-weight: 600"')}
${parts.join('\n')}
</svg>
`;
}

/**
 * @param {number} x
 * @param {number} y of the line on which the letters stand
 * @param {string} words
 * @param {string} [attributes]
 */
function text(x, y, words, attributes = '') {
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}"${attributes === '' ? '' : ` ${attributes}`}>${escaped}</text>`;
}
