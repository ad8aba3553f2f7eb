/**
 * `nest generate --collection nestjs-pool-manager migrate`: replaces what is mechanical, and lists the rest.
 *
 * Promises: what isn't understood in full is left as it is, and named with its place and what to do there; a second run
 * changes nothing.
 */
import type { Rule } from '@angular-devkit/schematics';

import { findCompiler } from '../project/compiler.js';
import { rootModule } from '../project/nest-syntax.js';
import { Project } from '../project/project.js';
import {
  addModuleImports,
  addPool,
  findRegistration,
  importsObstacle,
  PACKAGE,
  type PoolEntry,
  type Registration,
  registrationText,
} from '../project/registration.js';
import { Review } from '../project/review.js';
import type { CodeFile } from '../text/code-file.js';
import { addImport, takenName } from '../text/imports.js';
import { httpModules } from './http-modules.js';
import type { Migration, Note, SureMigration, Target } from './migration.js';
import { pgPools } from './pg-pools.js';

export interface MigrateInput {
  readonly postgresPool?: string;
  readonly httpPool?: string;
  readonly project?: string;
  readonly sourceRoot?: string;
}

/** What declarations of pools that replace others use of this package. */
const DECLARED_WITH = ['fromPgPoolConfig'];

type Finder = (project: Project, target: Target) => Generator<Migration>;

export function migrate(input: MigrateInput): Rule {
  return (tree, context) => {
    const project = new Project(tree, findCompiler(), input);
    const review = new Review();
    const registration = findRegistration(project);
    const pools = new Pools(project, registration);
    const searches = [
      { find: pgPools, target: pools.target('database', input.postgresPool) },
      { find: httpModules, target: pools.target('http', input.httpPool) },
    ];
    const notes: Note[] = [];
    for (const { find, target } of searches) {
      let found = first(find, project, target, pools.canDeclare);
      // Each rewrite moves what comes after it, so that the next one is looked for anew.
      for (; found !== undefined; found = first(find, project, target, pools.canDeclare)) {
        found.rewrite.apply(project, found.unused);
        if (found.entry !== undefined) pools.declare(found.entry, found.names);
        review.done(`${found.place.replace(/:\d+$/, '')}: ${found.done}`);
        notes.push(...found.notes);
      }
    }
    // Lines are counted when none moves any more.
    for (const { path, piece, text } of notes) {
      for (const place of placesOf(project, path, piece)) review.open(place, text);
    }
    for (const { find, target } of searches) {
      for (const migration of find(project, target)) {
        if ('rewrite' in migration) review.open(migration.place, `${pools.obstacle}: then run this again`);
        else if (migration.onlyAfterChanges !== true || review.hasDone) review.open(migration.place, migration.unsure);
      }
    }
    project.save();
    if (review.hasDone) {
      review.next('Compile, run the tests, and read the changes: git diff');
      review.next(
        'Limits of the pools are those of their declaration: compare maxSize with what the servers can take.',
      );
    }
    context.logger.info(review.toString());
  };
}

/** Every line of a file with that piece. */
function placesOf(project: Project, path: string, piece: string): string[] {
  const lines = project.file(path)?.text.split('\n') ?? [];
  return lines.flatMap((line, at) => (line.includes(piece) ? [`${path.slice(1)}:${at + 1}`] : []));
}

function first(find: Finder, project: Project, target: Target, canDeclare: boolean): SureMigration | undefined {
  if (!canDeclare && !target.isDeclared) return undefined;
  for (const migration of find(project, target)) if ('rewrite' in migration) return migration;
  return undefined;
}

/** The pools that the application declares, and those that are added. */
class Pools {
  readonly #project: Project;
  readonly #names: Set<string>;
  readonly #registration: Registration;

  constructor(project: Project, registration: Registration) {
    this.#project = project;
    this.#registration = registration;
    this.#names = new Set(registration.state === 'literal' ? registration.pools.keys() : []);
  }

  /** Whether pools can be added to what is there. */
  get canDeclare(): boolean {
    if (this.#registration.state === 'literal')
      return takenName(this.#registration.file, DECLARED_WITH, PACKAGE) === undefined;
    return this.#registration.state === 'none' && this.#rootObstacle === undefined;
  }

  /** Why they can't. */
  get obstacle(): string {
    if (this.#registration.state === 'other') {
      const { file, node } = this.#registration;
      return `PoolManagerModule at ${file.at(node)} is no literal that a pool can be added to; declare one there, and name it with --postgres-pool or --http-pool`;
    }
    if (this.#registration.state === 'literal') {
      const { file } = this.#registration;
      return `${takenName(file, DECLARED_WITH, PACKAGE) ?? ''} is something else in ${file.path.slice(1)}, where pools are declared; rename it`;
    }
    return this.#rootObstacle ?? '';
  }

  /** Why the root module can't have a registration. */
  get #rootObstacle(): string | undefined {
    const root = rootModule(this.#project);
    if (root === undefined) return `no root module was found to declare pools in; run nest add ${PACKAGE}`;
    const obstacle = importsObstacle(root, ['PoolManagerModule', ...DECLARED_WITH]);
    return obstacle === undefined
      ? undefined
      : `${obstacle} (${root.file.path.slice(1)}): add PoolManagerModule.forRoot({ pools: {} }) to its imports`;
  }

  /** @throws Error for the name of a pool that is declared as another kind, or not at all. */
  target(type: string, name: string | undefined): Target {
    if (name !== undefined && this.#registration.state !== 'other') {
      const declared = this.#registration.state === 'literal' ? this.#registration.pools : new Map<string, string>();
      if (!declared.has(name) || (declared.get(name) ?? type) !== type) {
        const pools = [...declared].map(([pool, kind]) => `${pool} (${kind ?? 'unknown'})`).join(', ') || 'none';
        throw new Error(`No pool "${name}" of type ${type} is declared. Declared: ${pools}`);
      }
    }
    const file = this.#declaringFile;
    return {
      path: file.path,
      style: this.#project.style(file),
      taken: this.#names,
      isDeclared: name !== undefined,
      name: (proposed) => name ?? proposed,
    };
  }

  declare(entry: PoolEntry, names: readonly string[]): void {
    this.#names.add(entry.name);
    const registration = findRegistration(this.#project);
    if (registration.state === 'literal') {
      const style = this.#project.style(registration.file);
      addPool(registration.file, entry, style);
      addImport(registration.file, names, PACKAGE, style);
      return;
    }
    const root = rootModule(this.#project);
    if (root === undefined) return;
    const style = this.#project.style(root.file);
    const elements = [registrationText({ pools: [entry] }, style)];
    addModuleImports(root, { elements, names: [...names, 'PoolManagerModule'] }, style);
  }

  /** The file in which pools are declared; any, where that isn't known. */
  get #declaringFile(): CodeFile {
    const file = this.#registration.state === 'literal' ? this.#registration.file : rootModule(this.#project)?.file;
    const found = file ?? this.#project.file(this.#project.mainPath) ?? [...this.#project.sources()][0];
    if (found === undefined) throw new Error(`There are no TypeScript files in ${this.#project.sourceRoot}.`);
    return found;
  }
}
