/**
 * What a Jest that runs CommonJS must be told: to compile this package, which is an ES module.
 *
 * From Nest 12 on Nest itself is ES modules, and its projects run a Jest (or vitest) that can load them.
 */
import { posix } from 'node:path';

import { property } from '../project/nest-syntax.js';
import { jsonObject, type Project, record } from '../project/project.js';
import type { Review } from '../project/review.js';
import { compareVersions, type Version } from '../project/version-range.js';
import type { CodeFile } from '../text/code-file.js';
import { addMember } from '../text/members.js';

const PATTERN = '/node_modules/(?!(nestjs-pool-manager)/)';
/** Packages are links into a folder of all versions there. */
const PNPM_PATTERN = '/node_modules/(?!(.pnpm/[^/]+/node_modules/)?nestjs-pool-manager/)';
/** The first ts-jest that compiles what is below node_modules. */
const TS_JEST: Version = [29, 3, 2];
const CONFIGURATIONS = ['js', 'ts', 'cjs', 'mjs', 'cts', 'mts'].map((extension) => `jest.config.${extension}`);

export function configureJest(project: Project, review: Review): void {
  const { packageJson } = project;
  if ((project.nest ?? 12) >= 12 || packageJson.type === 'module' || project.dependency('jest') === undefined) return;
  const pattern = project.exists('/pnpm-lock.yaml') ? PNPM_PATTERN : PATTERN;
  for (const { path, section } of jsonConfigurations(project)) {
    const file = project.file(path);
    if (file !== undefined) configure(project, file, section, pattern, review);
  }
  for (const name of CONFIGURATIONS) {
    const file = project.file(`/${name}`) ?? project.file(posix.join(project.root, name));
    if (file !== undefined && !file.text.includes('nestjs-pool-manager')) {
      review.open(file.path.slice(1), `Jest must compile this package: transformIgnorePatterns: ['${pattern}']`);
    }
  }
  const version = project.installedVersion('ts-jest');
  if (version !== undefined && compareVersions(version, TS_JEST) < 0) {
    review.open(
      'package.json',
      `ts-jest ${version.join('.')} doesn't compile packages: npm install --save-dev ts-jest@29`,
    );
  }
}

interface JsonConfiguration {
  readonly path: string;
  /** Where in the file; undefined for all of it. */
  readonly section?: string;
}

/** `jest` in package.json, and the files that its scripts name. */
function jsonConfigurations(project: Project): JsonConfiguration[] {
  const { packageJson } = project;
  const scripts = Object.values(record(packageJson.scripts)).filter((script) => typeof script === 'string');
  const named = scripts
    .filter((script) => script.includes('jest'))
    .flatMap((script) =>
      [...script.matchAll(/(?:--config|-c)[ =]["']?([^\s"']+\.json)/g)].map((match) => match[1] ?? ''),
    )
    .concat('test/jest-e2e.json', posix.join(project.root, 'test/jest-e2e.json'))
    .map((path) => posix.join('/', path));
  return [
    ...(packageJson.jest === undefined ? [] : [{ path: '/package.json', section: 'jest' }]),
    ...[...new Set(named)].filter((path) => project.exists(path)).map((path) => ({ path })),
  ];
}

function configure(
  project: Project,
  file: CodeFile,
  section: string | undefined,
  pattern: string,
  review: Review,
): void {
  const root = jsonObject(file);
  const found = root === undefined || section === undefined ? root : property(file, root, section)?.initializer;
  if (root === undefined || found === undefined || !file.compiler.isObjectLiteralExpression(found)) return;
  const present = property(file, found, 'transformIgnorePatterns');
  const place = file.path.slice(1);
  if (present !== undefined) {
    if (!present.getText(file.syntax).includes('nestjs-pool-manager')) {
      review.open(
        file.at(present),
        `Jest must compile this package: leave it out with (?!(nestjs-pool-manager)/), as in ${pattern}`,
      );
    }
    return;
  }
  if (!compilesJavaScript(file, found.getText(file.syntax))) {
    review.open(
      place,
      `Jest must compile this package: "transform" must match its .js files, and transformIgnorePatterns be ["${pattern}"]`,
    );
    return;
  }
  const style = project.style(file);
  const line = `"transformIgnorePatterns": ["${pattern}"]`;
  const fits =
    section === undefined && file.indentAt(found.end - 1).length + style.indent.length + line.length <= style.width;
  const text = fits ? line : `"transformIgnorePatterns": [\n${style.indent}"${pattern}"\n]`;
  addMember(file, found, text, style);
  review.done(`${place}: transformIgnorePatterns, so that Jest compiles this package`);
}

/** Whether one of the transforms is for `.js` files. */
function compilesJavaScript(file: CodeFile, configuration: string): boolean {
  try {
    const value: unknown = JSON.parse(configuration);
    return Object.keys(record(record(value).transform)).some((key) => new RegExp(key).test(`/${file.path}/index.js`));
  } catch {
    return false;
  }
}
