/**
 * The tables of options in the reference (docs/05-reference/options.md), made from the schemas that check them: names,
 * types and defaults from the schemas themselves, what an option is for from the comment above it in the source.
 *
 * Usage: node scripts/options-table.mjs [--check] [file] With --check nothing is written; exits with 1 when the file is
 * out of date. An option without a comment is an error.
 */
// The sources, and not what was last built of them.
import '../test/support/typescript/register.mjs';

import { z } from 'zod';

import { writeGenerated } from './generated-part.mjs';
import { optionComments } from './option-comments.mjs';
import { schemaOf, typeOf, unwrap } from './option-schemas.mjs';

/** @import { Schema, Shape } from './option-comments.mjs' */

const everyPool = 'Every pool';

/** What is listed under "Every pool", and not once more under a kind that leaves it as it is. @type {Set<Schema>} */
const common = new Set();

const lib = new URL('../lib/', import.meta.url);
const { documentation, kinds } = await optionComments(lib);
const { poolManagerShape } = await import(new URL('manager/pool-manager.options.ts', lib).href);
const { basePoolShape } = await import(new URL('pool/pool-options.ts', lib).href);
const { poolKinds } = await import(new URL('manager/pool-kinds.ts', lib).href);
const tables = [table('The registration', poolManagerShape), table(everyPool, basePoolShape)];
for (const type of Object.keys(poolKinds)) {
  const kind = kinds.get(type);
  if (kind === undefined) {
    throw new Error(`No …options.ts exports the kind "${type}" as …PoolKind and a …PoolShape with a comment above it.`);
  }
  tables.push(table(`${kind.title}: \`type: '${type}'\``, kind.shape));
}

writeGenerated({ name: 'options', defaultFile: 'docs/05-reference/options.md', parts: tables });

/**
 * @param {string} title
 * @param {Shape} shape
 * @returns {string}
 */
function table(title, shape) {
  const rows = rowsOf(shape, '', (schema) => !common.has(schema));
  if (title === everyPool) for (const schema of Object.values(shape)) common.add(schema);
  const lines = rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`);
  return `## ${title}\n\n| Option | Type, unit | Default | |\n| --- | --- | --- | --- |\n${lines.join('')}`;
}

/**
 * @param {Shape} shape
 * @param {string} prefix of the names
 * @param {(schema: Schema, name: string) => boolean} isListed whether an option gets a row here
 * @param {string} [condition] when these options exist
 * @returns {string[][]} the cells of each row
 */
function rowsOf(shape, prefix, isListed, condition = '') {
  return Object.entries(shape)
    .filter(([name, schema]) => isListed(schema, name))
    .flatMap(([name, schema]) => {
      const key = `${prefix}${name}`;
      const { inner, defaultValue } = unwrap(schema);
      const comment = documentation.get(schema);
      if (comment === undefined) throw new Error(`The option ${key} has no comment above it.`);
      const row = [
        `\`${key}\``,
        typeOf(inner, name),
        comment.defaultValue ?? defaultValue,
        `${condition}${comment.text}`,
      ];
      return [row, ...nestedRows(inner, key, isListed)];
    });
}

/**
 * @param {Schema} schema without wrappers
 * @param {string} key
 * @param {(schema: Schema, name: string) => boolean} isListed
 * @returns {string[][]} the rows of the options in it
 */
function nestedRows(schema, key, isListed) {
  if (schema instanceof z.ZodObject) return rowsOf(schema.shape, `${key}.`, isListed);
  if (schema instanceof z.ZodArray) return nestedRows(innerOf(schema.def.element), `${key}[]`, isListed);
  if (schema instanceof z.ZodRecord || schema instanceof z.ZodMap) {
    const inner = innerOf(schema.def.valueType);
    return inner instanceof z.ZodObject ? nestedRows(inner, `${key}.*`, isListed) : [];
  }
  return schema instanceof z.ZodDiscriminatedUnion ? alternativeRows(schema, key, isListed) : [];
}

/**
 * @param {unknown} part of a schema
 * @returns {Schema} it without wrappers
 */
function innerOf(part) {
  return unwrap(schemaOf(part)).inner;
}

/**
 * Alternatives that are told apart by one of their options (`isolation.mode`): what it may be in one row, then what
 * belongs to each.
 *
 * @param {z.ZodDiscriminatedUnion} schema
 * @param {string} key
 * @param {(schema: Schema, name: string) => boolean} isListed
 * @returns {string[][]}
 */
function alternativeRows(schema, key, isListed) {
  const tag = schema.def.discriminator;
  const alternatives = schema.def.options.map((option) => {
    const inner = innerOf(option);
    /** @type {Shape} */
    const shape = inner instanceof z.ZodObject ? inner.shape : {};
    const told = shape[tag];
    const text = told === undefined ? undefined : documentation.get(told)?.text;
    if (told === undefined || text === undefined) {
      throw new Error(`An alternative of ${key}.${tag} has no comment above it.`);
    }
    return { shape, value: typeOf(innerOf(told), tag), text };
  });
  return [
    [
      `\`${key}.${tag}\``,
      alternatives.map(({ value }) => value).join(' or '),
      'required',
      alternatives.map(({ value, text }) => `${value}: ${text}`).join(' '),
    ],
    ...alternatives.flatMap(({ shape, value }) =>
      rowsOf(shape, `${key}.`, (inner, name) => name !== tag && isListed(inner, name), `With ${value}. `),
    ),
  ];
}
