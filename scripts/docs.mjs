/**
 * `npm run docs`: the documentation site, in dist/docs. Writes the pages of the API from the doc comments, builds, and
 * follows every link.
 *
 * Refused: a page that is not in docs/.vitepress/sidebar.mjs, a link of the built site or of the repository's own
 * Markdown files that leads to no page or to no heading. Addresses outside are not asked.
 *
 * Usage: node scripts/docs.mjs [dev] With dev, the site is shown while it is written.
 */
import './ensure-installed.mjs';

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chapters } from '../docs/.vitepress/sidebar.mjs';
import { brokenLinksOfRepository, brokenLinksOfSite } from './docs-links.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const docs = join(root, 'docs');

run('node_modules/typedoc/bin/typedoc', '--options', 'docs/.vitepress/typedoc.json');
if (process.argv.includes('dev')) {
  run('node_modules/vitepress/bin/vitepress.js', 'dev', 'docs');
  process.exit(0);
}
run('node_modules/vitepress/bin/vitepress.js', 'build', 'docs');
const problems = [
  ...pagesWithoutPlace(),
  ...brokenLinksOfSite(join(root, 'dist/docs')),
  ...brokenLinksOfRepository(root),
];
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log('Every page is in the sidebar, and every link leads somewhere.');

/** @param {string[]} command a script and its arguments */
function run(...command) {
  const { status } = spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** @returns {string[]} */
function pagesWithoutPlace() {
  const places = new Set(chapters.flatMap(({ folder, pages }) => pages.map(([, path]) => `${folder}/${path}.md`)));
  const pages = readdirSync(docs, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(docs, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
  const own = pages.filter((page) => /^\d\d-/.test(page) && !page.startsWith('05-reference/api/'));
  return [
    ...own.filter((page) => !places.has(page)).map((page) => `docs/${page} is not in docs/.vitepress/sidebar.mjs`),
    ...[...places].filter((page) => !pages.includes(page)).map((page) => `docs/${page} is in the sidebar, and missing`),
  ];
}
