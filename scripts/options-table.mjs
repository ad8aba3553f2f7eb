/**
 * The tables of options in the reference (docs/05-reference/options.md), made from the schemas that check them: names,
 * types and defaults from the schemas themselves, what an option is for from the comment above it in the source.
 *
 * Usage: node scripts/options-table.mjs [--check] [file] With --check nothing is written; exits with 1 when the file is
 * out of date. An option without a comment is an error.
 */
// The sources, and not what was last built of them.
import '../test/support/typescript/register.mjs';

import { readdirSync, readFileSync } from 'node:fs';

import ts from 'typescript';

import { plain, writeGenerated } from './generated-part.mjs';

/** @typedef {import('zod').z.ZodType} Schema */
/** @typedef {Readonly<Record<string, Schema>>} Shape */
/** @typedef {{ text: string, defaultValue: string | undefined }} Documentation */
/** @typedef {{ title: string, shape: Shape }} Kind */

const everyPool = 'Every pool';

/**
 * The comment of every option, by its schema: an option that several kinds share is one schema. @type {Map<Schema,
 * Documentation>}
 */
const documentation = new Map();
/** What is listed under "Every pool", and not once more under a kind that leaves it as it is. @type {Set<Schema>} */
const common = new Set();

/** What each kind of pool adds, by its type, under the comment above its `…PoolShape`. @type {Map<string, Kind>} */
const shapes = new Map();

const lib = new URL('../lib/', import.meta.url);
for (const path of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
  if (!/options\.ts$/.test(path)) continue;
  const file = new URL(path, lib);
  readComments(file, await import(file.href));
}
const { poolManagerShape } = await import(new URL('manager/pool-manager.options.ts', lib).href);
const { basePoolShape } = await import(new URL('pool/pool-options.ts', lib).href);
const { poolKinds } = await import(new URL('manager/pool-kinds.ts', lib).href);
const tables = [table('The registration', poolManagerShape), table(everyPool, basePoolShape)];
for (const type of Object.keys(poolKinds)) {
  const kind = shapes.get(type);
  if (kind === undefined) {
    throw new Error(`No …options.ts exports the kind "${type}" as …PoolKind and a …PoolShape with a comment above it.`);
  }
  tables.push(table(`${kind.title}: \`type: '${type}'\``, kind.shape));
}

writeGenerated({ name: 'options', defaultFile: 'docs/05-reference/options.md', parts: tables });

/**
 * Remembers the comments above the options of every `…Shape` that a module exports, and the shape of a kind of pool.
 *
 * @param {URL} file
 * @param {Readonly<Record<string, unknown>>} exported what the module exports
 */
function readComments(file, exported) {
  const source = ts.createSourceFile(file.pathname, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      const shape = ts.isIdentifier(name) && name.text.endsWith('Shape') ? exported[name.text] : undefined;
      if (shape === undefined || initializer === undefined || !ts.isObjectLiteralExpression(initializer)) continue;
      if (name.getText().endsWith('PoolShape')) readKind(/** @type {Shape} */ (shape), statement, exported);
      for (const property of initializer.properties) {
        if (!ts.isPropertyAssignment(property) || !ts.isIdentifier(property.name)) continue;
        const schema = /** @type {Shape} */ (shape)[property.name.text];
        const comment = commentOf(property);
        if (schema !== undefined && comment !== undefined) documentation.set(schema, comment);
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
 */
function readKind(shape, statement, exported) {
  const [, kind] = Object.entries(exported).find(([name]) => name.endsWith('PoolKind')) ?? [];
  const title = commentOf(statement)?.text.replace(/\.$/, '');
  if (kind === undefined || title === undefined) return;
  shapes.set(/** @type {{ type: string }} */ (kind).type, { title, shape });
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
 * @param {any} schema a schema without wrappers
 * @param {string} key
 * @param {(schema: Schema, name: string) => boolean} isListed
 * @returns {string[][]} the rows of the options in it
 */
function nestedRows(schema, key, isListed) {
  switch (schema.def.type) {
    case 'object':
      return rowsOf(schema.shape, `${key}.`, isListed);
    case 'array':
      return nestedRows(unwrap(schema.def.element).inner, `${key}[]`, isListed);
    case 'record':
    case 'map': {
      const { inner } = unwrap(schema.def.valueType);
      return inner.def.type === 'object' ? nestedRows(inner, `${key}.*`, isListed) : [];
    }
    case 'union':
      return alternativeRows(schema, key, isListed);
    default:
      return [];
  }
}

/**
 * Alternatives that are told apart by one of their options (`isolation.mode`): what it may be in one row, then what
 * belongs to each.
 *
 * @param {any} schema
 * @param {string} key
 * @param {(schema: Schema, name: string) => boolean} isListed
 * @returns {string[][]}
 */
function alternativeRows(schema, key, isListed) {
  /** @type {string} */
  const tag = schema.def.discriminator;
  /** @type {{ shape: Shape, value: string, text: string }[]} */
  const alternatives = schema.def.options.map((/** @type {any} */ option) => {
    const { shape } = unwrap(option).inner;
    const text = documentation.get(shape[tag])?.text;
    if (text === undefined) throw new Error(`An alternative of ${key}.${tag} has no comment above it.`);
    return { shape, value: typeOf(unwrap(shape[tag]).inner, tag), text };
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

/**
 * @param {any} schema
 * @returns {{ inner: any, defaultValue: string }} the schema without what only says that it may be missing, and what it
 * is then
 */
function unwrap(schema) {
  let defaultValue = 'required';
  for (let inner = schema; ;) {
    switch (inner.def.type) {
      case 'default':
      case 'prefault':
        defaultValue = literal(inner.def.defaultValue);
        inner = inner.def.innerType;
        break;
      case 'optional':
        if (defaultValue === 'required') defaultValue = 'none';
        inner = inner.def.innerType;
        break;
      case 'readonly':
        inner = inner.def.innerType;
        break;
      case 'pipe':
        // What a preprocessing function is for is the schema behind it.
        inner = inner.def.in.def.type === 'transform' ? inner.def.out : inner.def.in;
        break;
      default:
        return { inner, defaultValue };
    }
  }
}

/**
 * @param {any} schema a schema without wrappers
 * @param {string} name
 * @returns {string} what the option takes, with its unit
 */
function typeOf(schema, name) {
  if (schema.description !== undefined) return schema.description.replace(/^an? /, '');
  switch (schema.def.type) {
    case 'number':
      return `${name.endsWith('Ms') ? 'ms' : schema.isInt ? 'whole number' : 'number'}${bounds(schema)}`;
    case 'string':
      return 'text';
    case 'boolean':
      return 'true or false';
    case 'enum':
      return Object.values(schema.def.entries).map(literal).join(' or ');
    case 'literal':
      return schema.def.values.map(literal).join(' or ');
    case 'array':
      return 'list';
    case 'object':
    case 'record':
    case 'map':
    case 'union':
      return 'object';
    default:
      throw new Error(`The option ${name} is of the type ${schema.def.type}: describe() it.`);
  }
}

/**
 * @param {any} schema of a number
 * @returns {string}
 */
function bounds(schema) {
  const exclusive = schema.def.checks?.some((/** @type {any} */ { _zod }) => _zod.def.inclusive === false);
  const least = Number.isFinite(schema.minValue) ? schema.minValue : undefined;
  // The longest delay of a timer and the largest safe integer are no limits that anyone meets.
  const most = schema.maxValue < 2 ** 31 - 1 ? schema.maxValue : undefined;
  if (least === undefined) return '';
  return most === undefined ? `, ${exclusive ? 'more than' : 'at least'} ${least}` : `, ${least} to ${most}`;
}

/**
 * @param {unknown} value
 * @returns {string} as it is written in code
 */
function literal(value) {
  if (typeof value === 'number') return `\`${String(value).replace(/\B(?=(\d{3})+$)/g, '_')}\``;
  if (typeof value === 'string') return `\`'${value}'\``;
  if (typeof value !== 'object' || value === null) return `\`${String(value)}\``;
  const members = Object.entries(value).map(([name, member]) => `${name}: ${literal(member).replaceAll('`', '')}`);
  return members.length === 0 ? '`{}`' : `\`{ ${members.join(', ')} }\``;
}
