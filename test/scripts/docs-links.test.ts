import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { brokenLinksOfRepository, brokenLinksOfSite } from '../../scripts/docs-links.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'docs-links-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (path: string, text: string): void => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
};

describe('the links of a built site', () => {
  it('lead to pages and headings, or are told', () => {
    write('guide.html', '<h1 id="top">Guide</h1><a href="/index.html#a&amp;b">home</a><a class="x" href="#top">up</a>');
    write('index.html', '<h2 id="a&amp;b">A</h2><a href="./guide.html#nothing">guide</a><a href="/gone.html">gone</a>');
    write('api/index.html', '<a href="https://example.com/x#y">elsewhere</a><a href="../api/">here</a>');
    expect(brokenLinksOfSite(folder)).toEqual([
      'index.html: ./guide.html#nothing leads to no heading',
      'index.html: /gone.html leads to no page',
    ]);
  });
});

describe('the links between Markdown files', () => {
  it('lead to files and headings as a code host names them, or are told; code is no link', () => {
    write(
      'README.md',
      '# A\n[1](docs/a.md#what-it-does) [2](docs/a.md#missing) [3](docs/b.md) `[4](no.md)`\n```\n[5](no.md)\n```\n',
    );
    write('docs/a.md', '## What it *does*\n[up](../README.md#a) [web](https://example.com)\n');
    write('node_modules/x/README.md', '[6](no.md)');
    expect(brokenLinksOfRepository(folder)).toEqual([
      'README.md: docs/a.md#missing leads to no heading',
      'README.md: docs/b.md leads to no file',
    ]);
  });
});
