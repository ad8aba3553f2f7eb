/**
 * The snippets as files: a folder for each page, below the repository, so that packages are found from there.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { ROOT, type Snippet } from './snippets.js';

export interface SnippetFiles extends Disposable {
  /** The file of a snippet. */
  fileOf(snippet: Snippet): string;
  /** Where a file that goes with them may be written. */
  fileNamed(name: string): string;
}

/** Writes the blocks of TypeScript; they are removed with the result. */
export function writeSnippets(snippets: readonly Snippet[]): SnippetFiles {
  const cache = join(ROOT, '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'snippets-'));
  const folderOf = (page: string): string => join(folder, page.replace(/\.md$/, '').replaceAll('/', '_'));
  const fileOf = (snippet: Snippet): string => join(folderOf(snippet.page), snippet.file ?? `line-${snippet.line}.ts`);
  for (const snippet of snippets) {
    const file = fileOf(snippet);
    mkdirSync(dirname(file), { recursive: true });
    // A module, also without an import: what it declares is its own.
    writeFileSync(file, `${snippet.code}\nexport {};\n`);
  }
  const fileNamed = (name: string): string => join(folder, name);
  return { fileOf, fileNamed, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}
