/**
 * Whether links lead somewhere: those of the built site, page and heading, and those between the Markdown files of the
 * repository, as a code host follows them.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

/** Folders whose Markdown is not ours, or is made anew by each build; by their paths in the repository. */
const GENERATED = /(^|\/)(node_modules|dist|\.cache|\.git|coverage)$|^docs\/05-reference\/api$/;

/**
 * @param {string} site the folder of a built site
 * @returns {string[]} one line for each link that leads nowhere
 */
export function brokenLinksOfSite(site) {
  const pages = new Map(
    filesBelow(site)
      .filter((file) => file.endsWith('.html'))
      .map((file) => [file, readFileSync(file, 'utf8')]),
  );
  /** @type {Map<string, Set<string>>} */
  const ids = new Map(
    [...pages].map(([file, html]) => [
      file,
      new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => decoded(id ?? ''))),
    ]),
  );
  const problems = new Set();
  for (const [file, html] of pages) {
    const page = relative(site, file).split(sep).join('/');
    for (const [, attribute = ''] of html.matchAll(/<a\s[^>]*?href="([^"]*)"/g)) {
      const href = decoded(attribute);
      if (isElsewhere(href)) continue;
      const [path = '', anchor] = href.split('#');
      const target = path === '' ? file : pageOf(site, file, path);
      if (target === undefined) problems.add(`${page}: ${href} leads to no page`);
      else if (anchor && ids.has(target) && !ids.get(target)?.has(decodeURIComponent(anchor)))
        problems.add(`${page}: ${href} leads to no heading`);
    }
  }
  return [...problems];
}

/**
 * @param {string} root the folder of the repository
 * @returns {string[]} one line for each link that leads nowhere
 */
export function brokenLinksOfRepository(root) {
  const problems = [];
  const isGenerated = (/** @type {string} */ path) => GENERATED.test(relative(root, path).split(sep).join('/'));
  for (const file of filesBelow(root, isGenerated).filter((path) => path.endsWith('.md'))) {
    for (const link of linksOf(readFileSync(file, 'utf8'))) {
      if (isElsewhere(link)) continue;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : resolve(dirname(file), decodeURIComponent(path));
      if (!existsSync(target)) problems.push(`${relative(root, file)}: ${link} leads to no file`);
      else if (anchor && target.endsWith('.md') && !headingsOf(readFileSync(target, 'utf8')).has(anchor))
        problems.push(`${relative(root, file)}: ${link} leads to no heading`);
    }
  }
  return problems;
}

/**
 * @param {string} site
 * @param {string} from the page that has the link
 * @param {string} path of the link
 * @returns {string | undefined} the file that a static server would send
 */
function pageOf(site, from, path) {
  const base = process.env.DOCS_BASE ?? '/';
  const target = path.startsWith('/')
    ? join(site, decodeURIComponent(path.startsWith(base) ? path.slice(base.length) : path))
    : resolve(dirname(from), decodeURIComponent(path));
  return [target, join(target, 'index.html')].find((file) => existsSync(file) && statSync(file).isFile());
}

/** @param {string} markdown @returns {string[]} */
function linksOf(markdown) {
  return [...withoutCode(markdown).matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)].map(([, link]) => link ?? '');
}

/** @param {string} markdown @returns {Set<string>} the anchors of its headings */
function headingsOf(markdown) {
  return new Set(
    [...withoutFences(markdown).matchAll(/^#{1,6}\s+(.+)$/gm)].map(([, heading = '']) =>
      heading
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-'),
    ),
  );
}

/** @param {string} markdown */
function withoutCode(markdown) {
  return withoutFences(markdown).replace(/`[^`\n]*`/g, '');
}

/** @param {string} markdown */
function withoutFences(markdown) {
  return markdown.replace(/^(\s*)(`{3,})[^]*?^\1\2\s*$/gm, '').replace(/<!--[^]*?-->/g, '');
}

/** @param {string} href */
function isElsewhere(href) {
  return /^([a-z][a-z+.-]*:|\/\/)/i.test(href) || href === '';
}

/** @param {string} text as it stands in an attribute */
function decoded(text) {
  return text.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'");
}

/**
 * @param {string} folder
 * @param {(path: string) => boolean} [isLeftOut] whether a folder is not looked into
 * @returns {string[]}
 */
function filesBelow(folder, isLeftOut = () => false) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return isLeftOut(path) ? [] : filesBelow(path, isLeftOut);
    return entry.isFile() ? [path] : [];
  });
}
