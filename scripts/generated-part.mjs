/**
 * The part of a Markdown file that a script writes, between the marks `<!-- NAME:begin … -->` and `<!-- NAME:end -->`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Writes the part into the file that the command line names, or into the script's own. With `--check` nothing is
 * written; the process exits with 1 when the file is out of date.
 *
 * @param {{ name: string, defaultFile: string, parts: readonly string[] }} generated its Markdown, part by part
 */
export function writeGenerated({ name, defaultFile, parts }) {
  const args = process.argv.slice(2);
  const check = args.includes('--check');
  const named = args.find((argument) => argument !== '--check');
  const file = named === undefined ? resolve(root, defaultFile) : resolve(named);
  const marks = new RegExp(`(<!-- ${name}:begin.*-->\\n)[^]*(<!-- ${name}:end -->)`);
  const text = readFileSync(file, 'utf8');
  if (!marks.test(text)) throw new Error(`${file} has no <!-- ${name}:begin … --> and <!-- ${name}:end -->.`);
  const written = text.replace(marks, (_, begin, end) => `${begin}\n${parts.join('\n')}\n${end}`);
  if (!check) {
    writeFileSync(file, written);
  } else if (written !== text) {
    console.error(`The ${name} in ${relative(root, file)} are out of date: run npm run ${name}-table`);
    process.exit(1);
  }
}

/**
 * @param {string | ts.NodeArray<ts.JSDocComment> | undefined} comment
 * @returns {string | undefined} on one line, links as code
 */
export function plain(comment) {
  return ts
    .getTextOfJSDocComment(comment)
    ?.replace(/\{@link\s+([^}]+)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .trim();
}
