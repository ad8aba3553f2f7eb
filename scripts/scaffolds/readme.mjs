/** What README.md tells a new user to install, write and set up: taken from it as it stands, never copied. */
// The reader of the snippets is the one of the tests, in TypeScript.
import '../../test/support/typescript/register.mjs';

/** @type {typeof import('../../test/docs/snippets.js')} */
const { snippetsOf } = await import(new URL('../../test/docs/snippets.ts', import.meta.url).href);
const snippets = snippetsOf('README.md');

/** The names of the files that make the application of the quick start. */
const FILES = ['app.module.ts', 'orders.ts', 'main.ts'];

/**
 * The commands of the quick start that install the packages.
 *
 * @param {11 | 12} nest
 * @returns {readonly (readonly string[])[]} the arguments of npm
 */
export function installCommands(nest) {
  const block = snippets.find(({ language, code }) => language === 'sh' && code.includes('npm install nestjs-pool-'));
  if (block === undefined) throw new Error('README.md has no block with `npm install nestjs-pool-manager`.');
  const commands = [];
  // A comment says for which version of Nest the commands below it are.
  let isMeant = true;
  for (const line of block.code.trim().split('\n')) {
    if (line.startsWith('#')) isMeant = !/Nest \d/.test(line) || line.includes(`Nest ${String(nest)}`);
    else if (isMeant) commands.push(line.split(' ').slice(1));
  }
  if (commands.length === 0) throw new Error(`README.md does not say what to install for Nest ${String(nest)}.`);
  return commands;
}

/**
 * The application of the quick start.
 *
 * @returns {ReadonlyMap<string, string>} text by name of file
 */
export function quickStart() {
  return new Map(
    FILES.map((name) => {
      const found = snippets.find(({ file }) => file === name);
      if (found === undefined) throw new Error(`README.md has no block that is named ${name}.`);
      return [name, found.code];
    }),
  );
}

/** @returns {readonly string[]} the SQL that a superuser runs before the application starts */
export function quickStartSql() {
  return snippets.filter(({ language }) => language === 'sql').map(({ code }) => code);
}

/** @returns {string} `transformIgnorePatterns: […]`, word for word: the line for a Jest that runs CommonJS */
export function jestLine() {
  for (const { code } of snippets) {
    const line = /["']?transformIgnorePatterns["']?: *\[.*\]/.exec(code);
    if (line !== null) return line[0];
  }
  throw new Error('README.md has no line `transformIgnorePatterns: […]` for users whose Jest runs CommonJS.');
}
