/** Nest's decorators, for classes of plain JavaScript. */
export function onClass(target, ...decorators) {
  for (const decorate of decorators) decorate(target);
}

export function onMethod(target, name, ...decorators) {
  const descriptor = Object.getOwnPropertyDescriptor(target.prototype, name);
  for (const decorate of decorators) decorate(target.prototype, name, descriptor);
}

export function onParameter(target, index, ...decorators) {
  for (const decorate of decorators) decorate(target, undefined, index);
}
