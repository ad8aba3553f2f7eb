/**
 * The table of errors in the reference (docs/05-reference/errors.md), made from the classes: codes, what they say and
 * have from their doc comments, and the answer that `TenantGuardInterceptor` makes of them from the function that makes
 * it.
 *
 * Usage: node scripts/errors-table.mjs [--check] [file] With --check nothing is written; exits with 1 when the file is
 * out of date. An error without a doc comment is an error.
 */
// The sources, and not what was last built of them.
import '../test/support/typescript/register.mjs';

import { readFileSync } from 'node:fs';

import ts from 'typescript';

import { plain, writeGenerated } from './generated-part.mjs';

const lib = new URL('../lib/', import.meta.url);
/** @type {Record<string, unknown>} */
const exported = await import(new URL('errors.ts', lib).href);
const { answerTo } = await import(new URL('tenancy/pool-error-answer.ts', lib).href);

const sections = ['engine/errors.ts', 'errors.ts'].flatMap((path) => {
  const file = new URL(path, lib);
  const source = ts.createSourceFile(file.pathname, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  return source.statements.filter(ts.isClassDeclaration).flatMap((statement) => sectionOf(statement));
});

writeGenerated({ name: 'errors', defaultFile: 'docs/05-reference/errors.md', parts: sections });

/**
 * @param {ts.ClassDeclaration} statement
 * @returns {string[]} the Markdown on one class of error; none on the base of all
 */
function sectionOf(statement) {
  const name = statement.name?.text ?? '';
  const errorClass = exported[name];
  if (
    typeof errorClass !== 'function' ||
    statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AbstractKeyword)
  )
    return [];
  const text = commentOf(statement);
  if (text === undefined) throw new Error(`The error ${name} has no comment above it.`);
  const fields = statement.members
    .filter(ts.isPropertyDeclaration)
    .filter((member) => member.name.getText() !== 'code')
    .map((member) => `- \`${member.name.getText()}\`: ${commentOf(member) ?? ''}\n`);
  const code = statement.members.filter(ts.isPropertyDeclaration).find((member) => member.name.getText() === 'code');
  return [
    `## ${name}\n\n` +
      `\`code\`: \`${code?.initializer?.getText().replaceAll("'", '') ?? ''}\`. ${answersOf(errorClass)}\n\n` +
      `${text}\n${fields.length === 0 ? '' : `\n${fields.join('')}`}`,
  ];
}

/**
 * @param {Function} errorClass
 * @returns {string} what a client is told where a handler rejects with it
 */
function answersOf(errorClass) {
  const kinds = errorClass === exported.AcquireTimeoutError ? ['pool', 'tenant', 'backend'] : [undefined];
  const answers = kinds.map((kind) => {
    const answer = answerTo(Object.assign(Object.create(errorClass.prototype), { kind, retryAfterMs: 1_000 }));
    const of = kind === undefined ? '' : ` for \`${kind}\``;
    return answer === undefined ? undefined : `${answer.status} with \`Retry-After\`${of}`;
  });
  const known = answers.filter((answer) => answer !== undefined);
  if (known.length > 0) return `Answer: ${known.join(', ')}.`;
  return 'Answer: that of any other error (500, unless a filter of yours says otherwise).';
}

/**
 * @param {ts.Node} node
 * @returns {string | undefined} its doc comment, on one line
 */
function commentOf(node) {
  const comment = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1);
  return comment === undefined ? undefined : plain(comment.comment);
}
