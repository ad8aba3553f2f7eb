/** What the schema of an option says about it: what it takes, in which unit, and what it is when it is left out. */
import { z } from 'zod';

/**
 * A part of a schema, which zod declares as less than it is.
 *
 * @param {unknown} part
 * @returns {z.ZodType}
 */
export function schemaOf(part) {
  if (part instanceof z.ZodType) return part;
  throw new TypeError('An option is made of something that is no schema');
}

/**
 * @param {z.ZodType} schema
 * @returns {{ inner: z.ZodType, defaultValue: string }} the schema without what only says that it may be missing, and
 *   what it is then
 */
export function unwrap(schema) {
  let defaultValue = 'required';
  for (let inner = schema; ;) {
    if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      defaultValue = literal(inner.def.defaultValue);
      inner = schemaOf(inner.def.innerType);
    } else if (inner instanceof z.ZodOptional) {
      if (defaultValue === 'required') defaultValue = 'none';
      inner = schemaOf(inner.def.innerType);
    } else if (inner instanceof z.ZodReadonly) {
      inner = schemaOf(inner.def.innerType);
    } else if (inner instanceof z.ZodPipe) {
      // What a preprocessing function is for is the schema behind it.
      inner = schemaOf(inner.def.in instanceof z.ZodTransform ? inner.def.out : inner.def.in);
    } else return { inner, defaultValue };
  }
}

/** Whether what an option takes is a number. @param {z.ZodType} schema without wrappers */
export function isNumber(schema) {
  return schema instanceof z.ZodNumber;
}

/**
 * @param {z.ZodType} schema without wrappers
 * @param {string} name
 * @returns {string} what the option takes, with its unit
 */
export function typeOf(schema, name) {
  if (schema.description !== undefined) return schema.description.replace(/^an? /, '');
  if (schema instanceof z.ZodNumber) {
    const isWhole = schema.format?.includes('int') === true;
    return `${name.endsWith('Ms') ? 'ms' : isWhole ? 'whole number' : 'number'}${bounds(schema)}`;
  }
  if (schema instanceof z.ZodString) return 'text';
  if (schema instanceof z.ZodBoolean) return 'true or false';
  if (schema instanceof z.ZodEnum) return Object.values(schema.def.entries).map(literal).join(' or ');
  if (schema instanceof z.ZodLiteral) return schema.def.values.map(literal).join(' or ');
  if (schema instanceof z.ZodArray) return 'list';
  if ([z.ZodObject, z.ZodRecord, z.ZodMap, z.ZodUnion].some((kind) => schema instanceof kind)) return 'object';
  throw new Error(`The option ${name} is of the type ${schema.def.type}: describe() it.`);
}

/**
 * @param {z.ZodNumber} schema
 * @returns {string}
 */
function bounds({ def, minValue, maxValue }) {
  const exclusive = def.checks?.some(({ _zod }) => 'inclusive' in _zod.def && _zod.def.inclusive === false);
  if (minValue === null || !Number.isFinite(minValue)) return '';
  // The longest delay of a timer and the largest safe integer are no limits that anyone meets.
  if (maxValue !== null && maxValue < 2 ** 31 - 1) return `, ${minValue} to ${maxValue}`;
  return `, ${exclusive ? 'more than' : 'at least'} ${minValue}`;
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
