/** The comments above the options in the sources, and the shapes of the kinds of pool. */
import { readdirSync, readFileSync } from 'node:fs';

import ts from 'typescript';

import { plain } from './generated-part.mjs';

/** @typedef {import('zod').z.ZodType} Schema */
/** @typedef {Readonly<Record<string, Schema>>} Shape */
/** @typedef {{ text: string, defaultValue: string | undefined }} Documentation */

/**
 * @typedef {object} OptionComments
 * @property {Map<Schema, Documentation>} documentation the comment of every option, by its schema: an option that
 *   several kinds share is one schema
 * @property {Map<string, { title: string, shape: Shape }>} kinds what each kind of pool adds, by its type, under the
 *   comment above its `…PoolShape`
 */

/**
 * Reads the sources, which `test/support/typescript/register.mjs` makes importable.
 *
 * @param {URL} lib the folder of the sources
 * @returns {Promise<Readonly<OptionComments>>}
 */
export async function optionComments(lib) {
  /** @type {OptionComments} */
  const comments = { documentation: new Map(), kinds: new Map() };
  for (const path of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!/options\.ts$/.test(path)) continue;
    const file = new URL(path, lib);
    readComments(file, await import(file.href), comments);
  }
  return comments;
}

/**
 * Remembers the comments above the options of every `…Shape` that a module exports, and the shape of a kind of pool.
 *
 * @param {URL} file
 * @param {Readonly<Record<string, unknown>>} exported what the module exports
 * @param {OptionComments} comments
 */
function readComments(file, exported, comments) {
  const source = ts.createSourceFile(file.pathname, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      const shape = ts.isIdentifier(name) && name.text.endsWith('Shape') ? exported[name.text] : undefined;
      if (shape === undefined || initializer === undefined || !ts.isObjectLiteralExpression(initializer)) continue;
      if (name.getText().endsWith('PoolShape')) readKind(/** @type {Shape} */ (shape), statement, exported, comments);
      for (const property of initializer.properties) {
        if (!ts.isPropertyAssignment(property) || !ts.isIdentifier(property.name)) continue;
        const schema = /** @type {Shape} */ (shape)[property.name.text];
        const comment = commentOf(property);
        if (schema !== undefined && comment !== undefined) comments.documentation.set(schema, comment);
      }
    }
  }
}

/**
 * Remembers the shape of a kind by the type that the kind has.
 *
 * @param {Shape} shape
 * @param {ts.Node} statement that declares it
 * @param {Readonly<Record<string, unknown>>} exported what its module exports
 * @param {OptionComments} comments
 */
function readKind(shape, statement, exported, comments) {
  const [, kind] = Object.entries(exported).find(([name]) => name.endsWith('PoolKind')) ?? [];
  const title = commentOf(statement)?.text.replace(/\.$/, '');
  if (kind === undefined || title === undefined) return;
  comments.kinds.set(/** @type {{ type: string }} */ (kind).type, { title, shape });
}

/**
 * @param {ts.Node} node
 * @returns {Documentation | undefined}
 */
function commentOf(node) {
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const comment = comments.at(-1);
  if (comment === undefined) return undefined;
  const tag = comment.tags?.find(({ tagName }) => tagName.text === 'defaultValue');
  return { text: plain(comment.comment) ?? '', defaultValue: plain(tag?.comment) };
}
