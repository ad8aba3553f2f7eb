/**
 * The fenced blocks of code in README.md and docs/, with what a reader doesn't see of them.
 *
 * A comment of HTML, which neither a code host nor the site shows, says how a block is to be checked:
 *
 *   <!-- page … -->            code ahead of every block of the page that has no imports, no `before` and no file name
 *   <!-- before … -->          code ahead of the next block
 *   <!-- after … -->           code behind the block before
 *   <!-- file: orders.ts -->   the next block is that file; files of a page may import each other
 *   <!-- run -->               the next block is run as well, against real servers
 *   <!-- not compiled: … -->   the next block isn't compiled, and why
 *   <!-- sql … -->             SQL that isn't shown
 *
 * SQL is run by a superuser in the order of the page, ahead of what else is run of it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Snippet {
  /** Path of the page, from the root of the repository. */
  readonly page: string;
  /** Line of the page on which the block begins. */
  readonly line: number;
  readonly language: string;
  /** With what isn't shown. */
  readonly code: string;
  /** The file that it is, where the page names one. */
  readonly file: string | undefined;
  readonly isRun: boolean;
  /** Why it isn't compiled. */
  readonly exemption: string | undefined;
}

const PART =
  /^(?:<!--\s*(page|before|after|file|run|not compiled|sql)\b:?([^]*?)-->|```(\w+)[^\n]*\n([^]*?)^```[ \t]*)$/gm;

/** The pages that are written by hand. */
export function pages(): readonly string[] {
  const below = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((path) => `docs/${path.split(sep).join('/')}`)
    .filter((path) => path.endsWith('.md') && !path.endsWith('.api.md') && !path.startsWith('docs/05-reference/api/'));
  return ['README.md', ...below.sort()];
}

/** The blocks of a page. */
export function snippetsOf(page: string): readonly Snippet[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const found: (Omit<Snippet, 'code'> & { code: string })[] = [];
  let ofPage = '';
  let next: { before?: string; file?: string; isRun?: boolean; exemption?: string } = {};
  for (const match of text.matchAll(PART)) {
    const [, directive, argument = '', language, code = ''] = match;
    switch (directive) {
      case 'page':
        ofPage = argument;
        break;
      case 'before':
        next.before = argument;
        break;
      case 'after': {
        const last = found.at(-1);
        if (last === undefined) throw new Error(`${page}: "after" has no block before it`);
        last.code += argument;
        break;
      }
      case 'file':
        next.file = argument.trim();
        break;
      case 'sql':
        found.push({ ...placeIn(page, text, match), language: 'sql', code: argument, ...UNMARKED });
        break;
      case 'run':
        next.isRun = true;
        break;
      case 'not compiled':
        next.exemption = argument.trim();
        break;
      case undefined: {
        const { before, file, isRun = false, exemption } = next;
        const isAlone = before !== undefined || file !== undefined || /^import\b/m.test(code);
        const ahead = before ?? (isAlone || language !== 'ts' ? '' : ofPage);
        const place = placeIn(page, text, match);
        found.push({ ...place, language: language ?? '', code: `${ahead}${code}`, file, isRun, exemption });
        next = {};
      }
    }
  }
  return found;
}

const UNMARKED = { file: undefined, isRun: false, exemption: undefined };

function placeIn(page: string, text: string, { index }: RegExpExecArray): Pick<Snippet, 'page' | 'line'> {
  return { page, line: text.slice(0, index).split('\n').length };
}

/** Where a snippet is in the repository, for messages. */
export function placeOf({ page, line }: Pick<Snippet, 'page' | 'line'>): string {
  return `${page}:${line}`;
}
