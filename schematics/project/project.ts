/**
 * The user's project: where its application is, which packages it has, and its files as they are being changed.
 */
import { posix } from 'node:path';

import type { Tree } from '@angular-devkit/schematics';
import type ts from 'typescript';

import { CodeFile, type Compiler } from '../text/code-file.js';
import { type CodeStyle, styleOf } from '../text/code-style.js';
import { lowestVersion, type Version } from './version-range.js';

export interface ProjectLocation {
  /** The application's name in nest-cli.json. */
  readonly project?: string | undefined;
  /** Where its sources are; Nest's CLI gives it. */
  readonly sourceRoot?: string | undefined;
}

interface NestProject {
  readonly sourceRoot?: unknown;
  readonly entryFile?: unknown;
  readonly root?: unknown;
}

const CONFIGURATIONS = ['/nest-cli.json', '/.nestcli.json', '/.nest-cli.json', '/nest.json'];
const PRETTIER_FILES = ['.prettierrc', '.prettierrc.json', '.prettierrc.yaml', '.prettierrc.yml']
  .concat(['.prettierrc.js', '.prettierrc.cjs', '.prettierrc.mjs', 'prettier.config.js'])
  .concat(['prettier.config.cjs', 'prettier.config.mjs', 'prettier.config.ts', '.prettierrc.ts'])
  .map((name) => `/${name}`);

export class Project {
  readonly #tree: Tree;
  readonly #compiler: Compiler;
  readonly #files = new Map<string, CodeFile>();
  /** Those of code files, by the folders that they are in. */
  readonly #paths = new Map<string, readonly string[]>();
  readonly #prettier: string;
  /** Folder of the application's sources, as `/src`. */
  readonly sourceRoot: string;
  /** Folder of the application, as `/` or `/apps/api`. */
  readonly root: string;
  /** Where the application starts, whether or not there is such a file. */
  readonly mainPath: string;

  constructor(tree: Tree, compiler: Compiler, location: ProjectLocation) {
    this.#tree = tree;
    this.#compiler = compiler;
    this.#prettier = this.#prettierConfiguration();
    const configuration = this.#configuration();
    const project = projectOf(configuration, location);
    const named = text(project.sourceRoot) ?? text(configuration.sourceRoot) ?? 'src';
    // The CLI writes the word where its configuration says nothing.
    const given = location.sourceRoot === 'undefined' ? undefined : location.sourceRoot;
    this.sourceRoot = posix.join('/', location.project === undefined ? (given ?? named) : named);
    this.root = posix.join('/', text(project.root) ?? posix.dirname(this.sourceRoot));
    const entry = text(project.entryFile) ?? text(configuration.entryFile) ?? 'main';
    this.mainPath = posix.join(this.sourceRoot, `${entry}.ts`);
  }

  get compiler(): Compiler {
    return this.#compiler;
  }

  exists(path: string): boolean {
    return this.#tree.exists(path);
  }

  /** A file that may be changed; undefined where there is none. What is changed is written by {@link save}. */
  file(path: string): CodeFile | undefined {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const content = this.#tree.read(path);
    if (content === null) return undefined;
    const file = new CodeFile(this.#compiler, path, content.toString('utf8'));
    this.#files.set(path, file);
    return file;
  }

  /** How a file is written. */
  style(file: CodeFile): CodeStyle {
    return styleOf(file, this.#prettier);
  }

  /** Every TypeScript file of the application, tests included: those beside its sources, and those in `test`. */
  sources(): Generator<CodeFile> {
    return this.#codeIn([this.sourceRoot, posix.join(this.root, 'test')]);
  }

  /** Every TypeScript file of the workspace's libraries, which the application may use. */
  librarySources(): Generator<CodeFile> {
    const libraries = Object.values(record(this.#configuration().projects))
      .map(record)
      .filter(({ type }) => type === 'library')
      .map(({ sourceRoot }) => text(sourceRoot))
      .filter((folder) => folder !== undefined);
    return this.#codeIn(libraries.map((folder) => posix.join('/', folder)));
  }

  *#codeIn(folders: readonly string[]): Generator<CodeFile> {
    // Schematics add no code files, and ask for these again and again.
    const key = folders.join(':');
    const paths = this.#paths.get(key) ?? this.#pathsIn(folders);
    this.#paths.set(key, paths);
    for (const path of paths) {
      const file = this.file(path);
      if (file !== undefined) yield file;
    }
  }

  #pathsIn(folders: readonly string[]): readonly string[] {
    const paths = new Set<string>();
    for (const folder of folders) {
      this.#tree.getDir(folder).visit((path) => {
        if (/\.[cm]?ts$/.test(path) && !/\.d\.[cm]?ts$/.test(path) && !path.includes('/node_modules/')) paths.add(path);
      });
    }
    return [...paths].sort();
  }

  /** The file that an import of another names, for relative imports. */
  resolve(from: CodeFile, specifier: string): CodeFile | undefined {
    if (!specifier.startsWith('.')) return undefined;
    const path = posix.join(posix.dirname(from.path), specifier);
    const candidates = [path.replace(/\.([cm]?)js$/, '.$1ts'), `${path}.ts`, `${path}/index.ts`, path];
    const found = candidates.find((candidate) => /\.[cm]?ts$/.test(candidate) && this.exists(candidate));
    return found === undefined ? undefined : this.file(found);
  }

  /** Where a package is in package.json, and the range there. */
  dependency(name: string): { readonly group: string; readonly range: string } | undefined {
    for (const group of ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']) {
      const range = record(this.packageJson[group])[name];
      if (typeof range === 'string') return { group, range };
    }
    return undefined;
  }

  /** The version that is installed, else the lowest that package.json allows. */
  version(name: string): Version | undefined {
    const installed = this.#json(`/node_modules/${name}/package.json`).version;
    return lowestVersion(text(installed) ?? this.dependency(name)?.range ?? '');
  }

  /** The version that is installed. */
  installedVersion(name: string): Version | undefined {
    return lowestVersion(text(this.#json(`/node_modules/${name}/package.json`).version) ?? '');
  }

  get packageJson(): Record<string, unknown> {
    return this.#json('/package.json');
  }

  /** The major version of Nest. */
  get nest(): number | undefined {
    return (this.version('@nestjs/core') ?? this.version('@nestjs/common'))?.[0];
  }

  /** Writes what was changed. */
  save(): void {
    for (const file of this.#files.values()) if (file.isChanged) this.#tree.overwrite(file.path, file.text);
  }

  #json(path: string): Record<string, unknown> {
    const changed = this.#files.get(path);
    if (changed === undefined && !this.#tree.exists(path)) return {};
    try {
      const value: unknown = JSON.parse((changed?.text ?? this.#tree.read(path)?.toString('utf8') ?? '').trim());
      return record(value);
    } catch {
      return {};
    }
  }

  #configuration(): Record<string, unknown> {
    const path = CONFIGURATIONS.find((candidate) => this.#tree.exists(candidate));
    return path === undefined ? {} : this.#json(path);
  }

  #prettierConfiguration(): string {
    const path = PRETTIER_FILES.find((candidate) => this.#tree.exists(candidate));
    if (path !== undefined) return this.#tree.read(path)?.toString('utf8') ?? '';
    return JSON.stringify(record(this.packageJson.prettier));
  }
}

/** Whether a file has tests, and is no part of the application. */
export function isTest({ path }: CodeFile): boolean {
  return /\.(?:e2e-)?(?:spec|test)\.[cm]?ts$/.test(path) || path.includes('/test/');
}

/** The object literal that a JSON file is. */
export function jsonObject(file: CodeFile): ts.ObjectLiteralExpression | undefined {
  const [statement] = file.syntax.statements;
  if (statement === undefined || !file.compiler.isExpressionStatement(statement)) return undefined;
  return file.compiler.isObjectLiteralExpression(statement.expression) ? statement.expression : undefined;
}

export function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function projectOf(configuration: Record<string, unknown>, { project, sourceRoot }: ProjectLocation): NestProject {
  const projects = record(configuration.projects);
  if (project !== undefined) {
    if (projects[project] === undefined) {
      const names = Object.keys(projects).join(', ') || 'none';
      throw new Error(`nest-cli.json has no project "${project}". Its projects: ${names}`);
    }
    return record(projects[project]);
  }
  const root = sourceRoot ?? configuration.sourceRoot;
  return record(Object.values(projects).find((candidate) => record(candidate).sourceRoot === root));
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
