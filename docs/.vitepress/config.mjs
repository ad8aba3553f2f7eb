/**
 * The documentation site: `npm run docs` builds it into dist/docs, `npm run docs:dev` shows it while it is written.
 */
import { defineConfig } from 'vitepress';

import { chapters } from './sidebar.mjs';

const sidebar = chapters.map(({ text, folder, pages }) => ({
  text,
  items: pages.map(([title, path]) => ({ text: title, link: `/${folder}/${path.replace(/index$/, '')}` })),
}));

export default defineConfig({
  title: 'nestjs-pool-manager',
  description: 'One NestJS module for every outgoing connection of a multi-tenant service.',
  outDir: '../dist/docs',
  cacheDir: '../.cache/vitepress',
  // The report on the public face is for reviews of changes; the API is in the reference.
  srcExclude: ['*.api.md'],
  // Works at the root of a domain, in a folder, and from a disk behind any static server.
  base: process.env.DOCS_BASE ?? '/',
  cleanUrls: false,
  lastUpdated: false,
  // Its tables need the width.
  transformPageData: (page) => {
    if (page.relativePath === '05-reference/options.md') page.frontmatter.aside = false;
  },
  themeConfig: {
    sidebar,
    nav: [
      { text: 'Five minutes', link: '/01-introduction/five-minutes' },
      { text: 'Guides', link: '/02-guides/declaring-pools' },
      { text: 'Reference', link: '/05-reference/options' },
    ],
    outline: [2, 3],
    search: { provider: 'local' },
    footer: { message: 'Released under the MIT License.' },
  },
});
