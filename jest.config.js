import { existsSync, readdirSync } from 'node:fs';

/**
 * SWC's options for one part of the repository.
 *
 * The library is compiled without decorator metadata, so that a missing `@Inject` fails in our tests and not at its
 * user's, whose build may not emit metadata either. Tests and the sample app are written as an application is, with it.
 *
 * @param {boolean} decoratorMetadata
 * @returns {[string, Record<string, unknown>]}
 */
const swc = (decoratorMetadata) => [
  '@swc/jest',
  {
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata },
      keepClassNames: true,
    },
    module: { type: 'es6' },
    sourceMaps: 'inline',
    swcrc: false,
  },
];

const rootsOf = (/** @type {readonly string[]} */ folders) => folders.map((folder) => `<rootDir>/test/${folder}`);

/** The folders of test/ for what is around the package; jest.tools.config.js runs these. */
const tools = ['docs', 'examples', 'schematics', 'scripts'];
export const toolRoots = rootsOf(tools);

const globalSetup = './test/support/global-setup.ts';
const globalTeardown = './test/support/global-teardown.ts';

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: rootsOf(readdirSync(new URL('test/', import.meta.url)).filter((folder) => !tools.includes(folder))),
  testMatch: ['**/*.test.ts', '**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  // Compiled packages first: a package that ships its sources beside its output is loaded from its output.
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'ts', 'json', 'node'],
  moduleNameMapper: {
    '^nestjs-pool-manager$': '<rootDir>/lib/index.ts',
    // ES modules name the file that will exist (`./lease.js`), Jest finds the one that does (`./lease.ts`).
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    '/lib/.*\\.ts$': swc(false),
    '\\.ts$': swc(true),
  },
  // Beside what it belongs to: in the system's directory for temporary files it would stay behind.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  maxWorkers: 2,
  // Some start servers of their own, on machines that do other things at the same time.
  testTimeout: 30_000,
  reporters: process.env.CI ? ['default', './scripts/summary-line-reporter.mjs'] : ['default'],
  ...(existsSync(new URL(globalSetup, import.meta.url)) && { globalSetup }),
  ...(existsSync(new URL(globalTeardown, import.meta.url)) && { globalTeardown }),
};
