/**
 * The layers of the library, as rules: module → manager → kinds → pool → engine. Each layer is a folder; a folder that
 * isn't named here is a kind of pool.
 *
 * Type-only imports count: a layer that needs a type from above it depends on it just the same.
 *
 * @type {import('dependency-cruiser').IConfiguration}
 */
const kinds = '^lib/(?!(?:engine|options|pool|tenancy|manager|health|observability|module)/)([^/]+)/';

module.exports = {
  forbidden: [
    {
      name: 'engine-stands-alone',
      comment:
        'The engine knows neither Nest nor any driver, nor anything else of ours: built-ins of Node and itself only.',
      severity: 'error',
      from: { path: '^lib/engine/' },
      to: { pathNot: '^lib/engine/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'common-ground-below-kinds',
      comment: 'What every kind builds on depends on no kind, and on nothing above the kinds.',
      severity: 'error',
      from: { path: '^lib/(errors\\.|options/|pool/|tenancy/)' },
      to: { path: [kinds, '^lib/(manager|module|health|observability)/'] },
    },
    {
      name: 'kinds-are-strangers',
      comment: 'A service that uses one kind of pool loads nothing of the others.',
      severity: 'error',
      from: { path: kinds },
      to: { path: kinds, pathNot: '^lib/$1/' },
    },
    {
      name: 'kinds-below-manager',
      comment:
        'A kind is what the manager creates; it knows neither the manager nor the module nor the health endpoints.',
      severity: 'error',
      from: { path: kinds },
      to: { path: '^lib/(manager|module|health|observability)/' },
    },
    {
      name: 'manager-below-module',
      comment: 'The manager works without the container of Nest: nothing that only exists in one is below it.',
      severity: 'error',
      from: { path: '^lib/manager/' },
      to: { path: '^lib/(module|health|observability)/' },
    },
    {
      name: 'only-index-imports-the-module',
      comment: 'The module is the outermost layer: nothing but the public face imports it.',
      severity: 'error',
      from: { path: '^lib/', pathNot: ['^lib/index\\.ts$', '^lib/module/'] },
      to: { path: '^lib/module/' },
    },
    {
      name: 'nothing-imports-the-index',
      comment: 'Inside the library a file is imported from where it is, not through the public face.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^lib/index\\.ts$' },
    },
    {
      name: 'library-imports-no-workshop',
      comment: 'Tests, benchmarks, the sample app, examples and scripts are not published.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^(test|bench|sample-app|examples|schematics|scripts|dist)/' },
    },
    {
      name: 'library-imports-declared-packages',
      comment:
        'The library may name (even as a type) only its dependencies and peers: nothing else is there when it is installed.',
      severity: 'error',
      from: { path: '^lib/' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['npm', 'npm-peer', 'npm-optional'],
      },
    },
    {
      name: 'schematics-stand-alone',
      comment:
        "Schematics run in Nest's CLI, with its devkit and the project's TypeScript: both are known as types only, and " +
        'nothing of the library is loaded.',
      severity: 'error',
      from: { path: '^schematics/' },
      to: { pathNot: '^schematics/', dependencyTypesNot: ['core', 'type-only'] },
    },
    {
      name: 'samples-use-the-package-name',
      comment: 'The sample app and the examples import the library as its users do: by the name of the package.',
      severity: 'error',
      from: { path: '^(sample-app|examples)/' },
      to: { path: '^(lib|dist)/', dependencyTypesNot: ['aliased'] },
    },
    {
      name: 'no-cycles',
      comment:
        'Two files that need each other are one file, or a type of one belongs to the other. Type-only imports count.',
      severity: 'error',
      from: { path: '^(lib|schematics|sample-app|examples|test|bench)/' },
      to: { circular: true },
    },
    {
      name: 'everything-resolves',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      conditionNames: ['import', 'node', 'types', 'default'],
      exportsFields: ['exports'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json', '.d.ts'],
    },
  },
};
