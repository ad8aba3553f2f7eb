/**
 * Where this folder is, for the resolution of packages. A file of its own, because `import.meta` is a syntax error in
 * CommonJS: compilers that turn the package into it (ts-jest, TypeScript's own) leave it as it is.
 */
export const moduleUrl = import.meta.url;
