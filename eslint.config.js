// @ts-check
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import jest from 'eslint-plugin-jest';
import simpleImportSort from 'eslint-plugin-simple-import-sort';
import tseslint from 'typescript-eslint';

import packageJson from './package.json' with { type: 'json' };

/** Packages that an application installs only for the kinds of pool and the transports it uses. */
const optionalPeers = Object.entries(packageJson.peerDependenciesMeta)
  .filter(([, { optional }]) => optional)
  .map(([name]) => name);

/** Casts that silence the compiler instead of telling it something. */
const noDoubleCast = {
  selector: 'TSAsExpression > TSAsExpression > TSUnknownKeyword.typeAnnotation',
  message: 'A cast through unknown hides a wrong type: narrow it, or give the value its type where it is made.',
};

/** CommonJS applications, and Nest's CLI, load what is published through require(esm). */
const noTopLevelAwait = [
  {
    selector: 'AwaitExpression:not(:function AwaitExpression)',
    message: 'No top-level await: this is loaded through require(esm).',
  },
  {
    selector: 'ForOfStatement[await=true]:not(:function ForOfStatement)',
    message: 'No top-level await: this is loaded through require(esm).',
  },
];

/** What the library must not do, because of how it is loaded and used. */
const libraryOnly = [
  noDoubleCast,
  ...noTopLevelAwait,
  {
    selector: 'MetaProperty[meta.name="import"]',
    message:
      'No import.meta: a Jest that runs CommonJS compiles the library, and would leave it in. See module-url.ts.',
  },
  {
    selector: 'ImportDeclaration[source.value=/^node:/] > ImportDefaultSpecifier',
    message:
      'No default import of a built-in: a Jest that compiles the library to CommonJS has none without esModuleInterop.',
  },
  {
    selector:
      'Program > VariableDeclaration[kind="let"], Program > ExportNamedDeclaration > VariableDeclaration[kind="let"]',
    message: 'No module state: two applications in one process must not see each other.',
  },
  {
    selector: 'PropertyDefinition[static=true][readonly=false]',
    message: 'No static mutable state: two applications in one process must not see each other.',
  },
  {
    selector:
      'ClassDeclaration:has(> Decorator[expression.callee.name=/^(Injectable|Controller|Module|Catch)$/]) > ClassBody > ' +
      'MethodDefinition[kind="constructor"] > FunctionExpression > ' +
      ':matches(Identifier, AssignmentPattern, TSParameterProperty).params:not(:has(> Decorator))',
    message: 'Every dependency has its own @Inject: the library is built without decorator metadata.',
  },
];

export default defineConfig(
  // The applications of the matrices of scaffolds and of APMs are no part of this project: each has its own packages.
  // The declarations of the CommonJS entry are about what is in dist, and are compiled with it.
  globalIgnores([
    ...['dist/', 'coverage/', '.cache/'],
    ...['scripts/scaffolds/applications/', 'scripts/apm/application/', 'scripts/nest-add/legacy/', 'commonjs/*.d.cts'],
  ]),
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    // A rule that is wrong somewhere is changed here, for everyone to see, and not switched off in place.
    linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: 'error' },
    plugins: { 'simple-import-sort': simpleImportSort },
    rules: {
      // What is imported for its effect, then built-ins of Node, packages, and our own modules from the farthest on.
      'simple-import-sort/imports': ['error', { groups: [['^\\u0000'], ['^node:'], ['^@?\\w'], ['^\\.']] }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      // One width for code and comments; the formatter keeps that of code.
      'max-len': [
        'error',
        { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true },
      ],
      'no-restricted-syntax': ['error', noDoubleCast],
      '@typescript-eslint/ban-ts-comment': ['error', { minimumDescriptionLength: 10 }],
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      // A class of Nest may be all decorator.
      '@typescript-eslint/no-extraneous-class': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-deprecated': 'error',
      '@typescript-eslint/no-empty-function': 'off',
      // An interface may be there to name what a schema infers, or for an application to fill in.
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'always' }],
      // node:test-like `describe`/`it` aside, a promise is awaited, returned, or marked `void` on purpose.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unnecessary-boolean-literal-compare': 'error',
      '@typescript-eslint/no-unnecessary-type-arguments': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      // What was caught is passed on as it is.
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['lib/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-syntax': ['error', ...libraryOnly],
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: optionalPeers.map((name) => ({
            name,
            allowTypeImports: true,
            message: 'An optional peer: import its types, and load it with import() when it is first needed.',
          })),
          patterns: [
            {
              group: optionalPeers.map((name) => `${name}/*`),
              allowTypeImports: true,
              message: 'An optional peer: import its types, and load it with import() when it is first needed.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['schematics/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-syntax': ['error', noDoubleCast, ...noTopLevelAwait],
    },
  },
  {
    // The one place that says where it is; loaded only where there are ES modules.
    files: ['lib/http/module-url.ts'],
    rules: { 'no-restricted-syntax': ['error', noDoubleCast] },
  },
  {
    // Fakes implement asynchronous interfaces with nothing to wait for; asymmetric matchers of Jest are `any`.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
  {
    files: ['test/**/*.ts'],
    plugins: { jest },
    // A test that can't fail is none. A helper that expects something says so by its name.
    rules: { 'jest/expect-expect': ['error', { assertFunctionNames: ['expect', 'expect*'] }] },
  },
  {
    // Small scripts and configuration that run before anything is installed or built.
    files: ['**/*.{js,mjs,cjs}'],
    extends: [tseslint.configs.disableTypeChecked],
    // The compiler checks these too, and knows what Node has.
    rules: { 'no-undef': 'off' },
  },
  {
    files: ['**/*.cjs'],
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
);
