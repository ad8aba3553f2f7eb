/**
 * The layers of the library, as rules: module → manager → kinds → engine.
 *
 * Type-only imports count: a layer that needs a type from above it depends on it just the same.
 *
 * @type {import('dependency-cruiser').IConfiguration}
 */
const kinds = '^lib/(postgres/|redis/|http/|external-pool\\.)';
const manager = '^lib/(connection-pool-manager|pool-table)\\.';
const nestModule = '^lib/pool-manager\\.(core-)?module';

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
      name: 'kinds-are-strangers',
      comment: 'A service that uses one kind of pool loads nothing of the others.',
      severity: 'error',
      from: { path: kinds },
      to: { path: kinds, pathNot: '^lib/$1' },
    },
    {
      name: 'kinds-below-manager',
      comment:
        'A kind is what the manager creates; it knows neither the manager nor the module nor the health endpoints.',
      severity: 'error',
      from: { path: kinds },
      to: { path: [manager, '^lib/pool-manager\\.', '^lib/health/', '^lib/lifecycle/'] },
    },
    {
      name: 'common-ground-below-kinds',
      comment:
        'What every kind builds on (errors, options, statistics, tenancy, the monitor, the handle) depends on none of them and on nothing above.',
      severity: 'error',
      from: {
        path: '^lib/(errors\\.|options/|pool-(core|events|handle|options|registry)\\.|metrics/|tenancy/|health/pool-monitor\\.)',
      },
      to: { path: [kinds, manager, '^lib/pool-manager\\.', '^lib/health/(?!pool-monitor\\.)', '^lib/lifecycle/'] },
    },
    {
      name: 'manager-below-module',
      comment: 'The manager works without the container of Nest: nothing that only exists in one is below it.',
      severity: 'error',
      from: { path: manager },
      to: {
        path: ['^lib/pool-manager\\.(?!options\\.)', '^lib/health/pool-health\\.', '^lib/lifecycle/pool-manager\\.'],
      },
    },
    {
      name: 'only-index-imports-the-module',
      comment: 'The module is the outermost layer: nothing but the public face imports it.',
      severity: 'error',
      from: { path: '^lib/', pathNot: ['^lib/index\\.ts$', nestModule] },
      to: { path: nestModule },
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
      comment: 'Tests, benchmarks, the sample app and scripts are not published.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^(test|bench|sample-app|scripts|dist)/' },
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
      name: 'sample-uses-the-package-name',
      comment: 'The sample app imports the library as its users do: by the name of the package.',
      severity: 'error',
      from: { path: '^sample-app/' },
      to: { path: '^(lib|dist)/', dependencyTypesNot: ['aliased'] },
    },
    {
      name: 'no-cycles',
      comment:
        'Two files that need each other are one file, or a type of one belongs to the other. Type-only imports count.',
      severity: 'error',
      from: { path: '^(lib|sample-app|test|bench)/' },
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
