/**
 * The scaffolds, and what is tried in each.
 *
 * @typedef {object} Run
 * @property {'readme' | 'every-kind' | 'only-pg' | 'only-redis' | 'only-http'} application a folder of `applications/`;
 *   `readme` is the quick start itself
 * @property {string} modules how the table calls the module system
 * @property {'Express' | 'Fastify'} [platform] Express by default
 * @property {import('typescript').CompilerOptions | Record<string, unknown>} [tsconfig] changes to the scaffold's
 *   compiler options
 * @property {boolean} [replacesTsconfig] whether `tsconfig` stands in place of the scaffold's options
 * @property {readonly string[]} [without] installed packages that this run doesn't have
 * @property {boolean} [hasHealthRoutes] true by default
 * @property {'included' | 'beside it' | 'missing'} [bundle] runs a bundle of esbuild, with the packages of the kinds
 *   inside it, beside it, or neither
 *
 * @typedef {object} Scaffold
 * @property {string} name
 * @property {11 | 12} nest
 * @property {'cjs' | 'esm'} type
 * @property {import('../node-versions.mjs').NodeMajor} [testsOn] the Node that its test runner needs
 * @property {readonly Run[]} runs
 */

/** The options of applications that the CLI of Nest 10 and earlier made. */
const classic = {
  module: 'commonjs',
  declaration: true,
  removeComments: true,
  emitDecoratorMetadata: true,
  experimentalDecorators: true,
  allowSyntheticDefaultImports: true,
  target: 'ES2021',
  sourceMap: true,
  outDir: './dist',
  baseUrl: './',
  incremental: true,
  strictNullChecks: false,
  noImplicitAny: false,
  strictBindCallApply: false,
  forceConsistentCasingInFileNames: false,
  noFallthroughCasesInSwitch: false,
};

const strict = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
};

const pg = ['pg', '@types/pg'];
const redis = ['ioredis'];
const http = ['axios', '@nestjs/axios', 'undici'];
const terminus = ['@nestjs/terminus'];

/**
 * One kind each, without the packages of the others; and, once, without Terminus.
 *
 * @param {string} modules
 * @returns {readonly Run[]}
 */
const oneKind = (modules) => [
  { application: 'only-pg', modules, without: [...redis, ...http, ...terminus], hasHealthRoutes: false },
  { application: 'only-redis', modules, without: [...pg, ...http] },
  { application: 'only-http', modules, without: [...pg, ...redis] },
];

/**
 * @param {string} modules
 * @returns {readonly Run[]}
 */
const bundles = (modules) => [
  { application: 'every-kind', modules, bundle: 'included' },
  { application: 'every-kind', modules, bundle: 'beside it' },
  { application: 'every-kind', modules, bundle: 'missing' },
];

/** @type {readonly Scaffold[]} */
export const scaffolds = [
  {
    name: 'Nest 11',
    nest: 11,
    type: 'cjs',
    runs: [
      { application: 'readme', modules: 'nodenext, CommonJS' },
      { application: 'readme', modules: 'commonjs', tsconfig: classic, replacesTsconfig: true },
      { application: 'readme', modules: 'node16', tsconfig: { module: 'node16', moduleResolution: 'node16' } },
      { application: 'every-kind', modules: 'nodenext, CommonJS', platform: 'Fastify' },
      { application: 'every-kind', modules: 'commonjs', tsconfig: classic, replacesTsconfig: true },
      ...oneKind('nodenext, CommonJS'),
      ...bundles('nodenext, CommonJS'),
    ],
  },
  {
    name: 'Nest 12',
    nest: 12,
    type: 'esm',
    runs: [
      { application: 'readme', modules: 'nodenext, ES modules' },
      { application: 'every-kind', modules: 'nodenext, strictest', platform: 'Fastify', tsconfig: strict },
      ...oneKind('nodenext, ES modules'),
      ...bundles('nodenext, ES modules'),
    ],
  },
  {
    name: 'Nest 12',
    nest: 12,
    type: 'cjs',
    // Its own tests need a Jest that can require ES modules: Nest 12 is made of them.
    testsOn: 24,
    runs: [
      { application: 'readme', modules: 'nodenext, CommonJS' },
      { application: 'every-kind', modules: 'nodenext, CommonJS', platform: 'Fastify' },
    ],
  },
];
