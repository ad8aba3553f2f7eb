/** What the schema of an option says about it: what it takes, in which unit, and what it is when it is left out. */

/**
 * @param {any} schema
 * @returns {{ inner: any, defaultValue: string }} the schema without what only says that it may be missing, and what it
 * is then
 */
export function unwrap(schema) {
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
export function typeOf(schema, name) {
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
