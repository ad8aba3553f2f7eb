/**
 * The library as it is loaded: dist/bundle, a file for each folder of lib/, put together from what the compiler wrote
 * to dist/lib. An application, and each of its test files, would otherwise find, read and link two hundred files.
 *
 * Nothing is left out or rewritten: what is published reads as it was compiled.
 *
 * Usage: node scripts/bundle.mjs, after `nest build lib`
 */
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { rollup } from 'rollup';

const root = fileURLToPath(new URL('..', import.meta.url));
const compiled = join(root, 'dist/lib');
const bundled = join(root, 'dist/bundle');

const build = await rollup({
  input: { index: join(compiled, 'index.js') },
  external: (source) => !/^[./]/.test(source),
  treeshake: false,
  plugins: [
    { name: 'source maps of the compiler', load: (file) => ({ code: withoutMapLine(file), map: mapOf(file) }) },
  ],
  onLog(level, log) {
    // The compiler's helper for decorators asks `this`, which a module doesn't have.
    if (level === 'warn' && log.code !== 'THIS_IS_UNDEFINED') throw new Error(log.message);
  },
});
rmSync(bundled, { recursive: true, force: true });
await build.write({
  dir: bundled,
  manualChunks: folderOf,
  chunkFileNames: '[name].js',
  minifyInternalExports: false,
  hoistTransitiveImports: false,
  sourcemap: true,
  sourcemapExcludeSources: true,
});
await build.close();

// Messages of Nest name a class as the class names itself. Rollup renames one that meets its name in another file.
const renamed = Object.entries(await import(pathToFileURL(join(bundled, 'index.js')).href)).filter(
  ([name, value]) => typeof value === 'function' && value.name !== name,
);
if (renamed.length > 0)
  throw new Error(`Exported by another name than their own: ${renamed.map(([name]) => name).join(', ')}`);

/**
 * @param {string} file
 * @returns {string | undefined} the folder of lib/ in which it is; none for the entry, and for the file that CommonJS
 * can't load. errors.js needs a part of options/, and is needed by others: they share a file.
 */
function folderOf(file) {
  if (file.endsWith('module-url.js')) return undefined;
  const [folder] = relative(compiled, file).split(sep);
  if (folder === 'errors.js') return 'options';
  return folder === 'index.js' ? undefined : folder;
}

/** @param {string} file */
function withoutMapLine(file) {
  return readFileSync(file, 'utf8').replace(/^\/\/# sourceMappingURL=.*\n?/m, '');
}

/** @param {string} file */
function mapOf(file) {
  const map = JSON.parse(readFileSync(`${file}.map`, 'utf8'));
  return { ...map, sources: map.sources.map((/** @type {string} */ source) => resolve(dirname(file), source)) };
}
