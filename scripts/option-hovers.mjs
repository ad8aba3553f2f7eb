/**
 * Completes what editors show of an option: the declarations that were built get the unit, the bounds and the default
 * of each option from its schema. In the sources a default stands once, in the schema.
 *
 * Usage: node scripts/option-hovers.mjs, after `nest build lib`
 */
// The sources, and not what was last built of them.
import '../test/support/typescript/register.mjs';

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

import ts from 'typescript';

import { optionComments } from './option-comments.mjs';
import { isNumber, typeOf, unwrap } from './option-schemas.mjs';

/** @import { Schema, Shape } from './option-comments.mjs' */

/** Members of a shape are so far from the margin. */
const NEW_LINE = '\n    ';

const declarations = new URL('../dist/lib/', import.meta.url);
const sources = new URL('../lib/', import.meta.url);
const { documentation } = await optionComments(sources);

for (const path of readdirSync(declarations, { recursive: true, encoding: 'utf8' })) {
  if (!path.endsWith('options.d.ts')) continue;
  const file = new URL(path, declarations);
  const text = readFileSync(file, 'utf8');
  const exported = await import(new URL(path.replace(/\.d\.ts$/, '.ts'), sources).href);
  writeFileSync(file, completed(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true), exported));
}

/**
 * @param {ts.SourceFile} declaration of a module
 * @param {Readonly<Record<string, unknown>>} exported what the module exports
 * @returns {string} its text, with complete comments above the options of each `…Shape`
 */
function completed(declaration, exported) {
  let text = declaration.text;
  // From the end to the beginning, so that the positions of what is still to come stay true.
  for (const { member, schema } of optionsOf(declaration, exported).reverse()) {
    const written = ts.getJSDocCommentsAndTags(member).filter(ts.isJSDoc).at(-1);
    const comment = commentOf(member.name.getText(), schema, written?.getText());
    if (comment === undefined) continue;
    const start = written?.pos ?? member.getStart();
    text = `${text.slice(0, start)}${comment}${text.slice(written?.end ?? start)}`;
  }
  return text;
}

/**
 * @param {ts.SourceFile} declaration
 * @param {Readonly<Record<string, unknown>>} exported
 */
function optionsOf(declaration, exported) {
  return declaration.statements
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations])
    .flatMap(({ name, type }) => {
      if (!name.getText().endsWith('Shape') || type === undefined || !ts.isTypeLiteralNode(type)) return [];
      const shape = /** @type {Shape} */ (exported[name.getText()]);
      return type.members.filter(ts.isPropertySignature).flatMap((member) => {
        const schema = shape[member.name.getText()];
        return schema === undefined ? [] : [{ member, schema }];
      });
    });
}

/**
 * @param {string} name of the option
 * @param {Schema} schema
 * @param {string} [written] the comment in the declaration; what a shape takes over from another has none there
 * @returns {string | undefined} the comment, with what the schema says besides
 */
function commentOf(name, schema, written) {
  const { text, defaultValue } = documentation.get(schema) ?? {};
  if (text === undefined) return undefined;
  const known = unwrap(schema);
  const isTold = isNumber(known.inner) || known.inner.description !== undefined;
  const lines = [
    ...(written === undefined ? [text] : proseOf(written)),
    ...(isTold ? ['', `Type: ${typeOf(known.inner, name)}.`] : []),
    `@defaultValue ${defaultValue ?? known.defaultValue}`,
  ];
  const comment = ['/**', ...lines.map((line) => ` * ${line}`.trimEnd()), ' */'].join(NEW_LINE);
  return written === undefined ? `${comment}${NEW_LINE}` : comment;
}

/**
 * @param {string} comment
 * @returns {string[]} its lines before the first tag, and before what this script has written
 */
function proseOf(comment) {
  const lines = comment
    .replace(/^\/\*\*\s*|\s*\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, ''));
  const end = lines.findIndex((line) => line.startsWith('@') || line.startsWith('Type: '));
  const prose = end === -1 ? lines : lines.slice(0, end);
  return prose.at(-1) === '' ? prose.slice(0, -1) : prose;
}
