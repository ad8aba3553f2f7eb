/**
 * `nest add nestjs-pool-manager`: what a Nest application needs to have pools.
 *
 * Promises: what is there already is left as it is and reported; a second run changes nothing; the package depends on
 * nothing more for it, because the devkit that runs this is the one of Nest's CLI.
 */
import type { Rule, SchematicContext, Tree } from '@angular-devkit/schematics';

import { findCompiler } from '../project/compiler.js';
import { mentions, moduleMetadata, rootModule } from '../project/nest-syntax.js';
import { Project } from '../project/project.js';
import {
  addModuleImports,
  findRegistration,
  importsObstacle,
  type ModuleImports,
  type PoolEntry,
  registrationText,
} from '../project/registration.js';
import { Review } from '../project/review.js';
import type { CodeStyle } from '../text/code-style.js';
import { VARIABLES, writeEnvExample } from './env-example.js';
import { hasFreeHealthPaths } from './health-routes.js';
import { configureJest } from './jest-config.js';
import { type Kind, type NestAddInput, type NestAddOptions, readOptions } from './nest-add.options.js';
import { addPackages } from './packages.js';
import { enableShutdownHooks } from './shutdown-hooks.js';

const TYPES: Readonly<Record<Kind, string>> = { postgres: 'database', redis: 'redis', http: 'http' };

export function nestAdd(input: NestAddInput): Rule {
  const wanted = readOptions(input);
  return (tree, context) => {
    const project = new Project(tree, findCompiler(), wanted);
    const review = new Review();
    if ((project.nest ?? 12) < 11)
      throw new Error(`Nest ${project.nest ?? ''} is too old: the pools need Nest 11 or 12.`);
    const options = { ...wanted, health: wanted.health && hasFreeHealthPaths(project, review) };
    const hasNewPackages = addPackages(project, options, review);
    declarePools(project, options, review);
    if (options.shutdownHooks) enableShutdownHooks(project, review);
    configureJest(project, review);
    project.save();
    if (options.envExample) writeEnvExample(tree, options.kinds, review);
    if (hasNewPackages && !options.skipInstall) installPackages(tree, context);
    nextSteps(options, hasNewPackages, review);
    context.logger.info(review.toString());
  };
}

function declarePools(project: Project, options: NestAddOptions, review: Review): void {
  const registration = findRegistration(project);
  if (registration.state === 'literal') {
    const { file, pools } = registration;
    for (const kind of options.kinds) {
      if ([...pools.values()].includes(TYPES[kind])) continue;
      const option = `${options.poolNames[kind]}: { type: '${TYPES[kind]}' }`;
      review.open(
        file.path.slice(1),
        `PoolManagerModule is there, without a pool of ${TYPES[kind]}: add ${option} to its pools`,
      );
    }
  } else if (registration.state === 'other') {
    const { file, node } = registration;
    review.open(file.at(node), 'PoolManagerModule is there: its pools are yours to declare');
  }
  const root = rootModule(project);
  const elements = (style: CodeStyle): ModuleImports =>
    wantedImports(registration.state === 'none', options, project, style);
  if (root === undefined) {
    const place = `${project.sourceRoot.slice(1)}`;
    review.open(place, `no root module was found; add to its imports: ${elements(DEFAULT_STYLE).elements.join(', ')}`);
    return;
  }
  const style = project.style(root.file);
  const wanted = elements(style);
  if (wanted.elements.length === 0) return;
  const obstacle = importsObstacle(root, wanted.names);
  if (obstacle !== undefined) {
    const place = moduleMetadata(root.file, root.name) ?? root.file.syntax;
    review.open(root.file.at(place), `${obstacle}; add to the imports of ${root.name}: ${wanted.elements.join(', ')}`);
    return;
  }
  addModuleImports(root, wanted, style);
  const names = wanted.names.filter((name) => name.endsWith('Module')).join(', ');
  review.done(`${root.file.path.slice(1)}: ${names} in ${root.name}`);
}

const DEFAULT_STYLE: CodeStyle = {
  quote: "'",
  semicolon: ';',
  indent: '  ',
  trailingComma: ',',
  braceSpace: ' ',
  width: 80,
};

function wantedImports(
  registers: boolean,
  { kinds, poolNames, tenantHeader, health }: NestAddOptions,
  project: Project,
  style: CodeStyle,
): ModuleImports {
  const elements: string[] = [];
  const names: string[] = [];
  if (registers) {
    if (tenantHeader !== undefined) names.push('fromHeader');
    elements.push(
      registrationText({ pools: kinds.map((kind) => entryOf(kind, poolNames[kind], style)), tenantHeader }, style),
    );
  }
  if (health && ![...project.sources()].some((file) => mentions(file, 'PoolHealthModule'))) {
    elements.push('PoolHealthModule');
    names.push('PoolHealthModule');
  }
  if (registers) names.push('PoolManagerModule');
  return { elements, names };
}

function entryOf(kind: Kind, name: string, { quote }: CodeStyle): PoolEntry {
  const type = `type: ${quote}${TYPES[kind]}${quote}`;
  const { name: variable } = VARIABLES[kind];
  if (kind !== 'http') return { name, options: [type], comment: variable };
  // A service that is down doesn't keep the application from starting, or take it out of the balancer.
  return { name, options: [type, `baseURL: process.env.${variable}`, 'critical: false'] };
}

/** The devkit's own task, by its name: its class is in the devkit, which isn't ours to load. */
function installPackages(tree: Tree, context: SchematicContext): void {
  // The devkit knows the other package managers by their lock files.
  const isBun = tree.exists('/bun.lock') || tree.exists('/bun.lockb');
  const options = { command: 'install', ...(isBun && { packageManager: 'bun' }) };
  context.addTask({ toConfiguration: () => ({ name: 'node-package', options }) });
}

function nextSteps(options: NestAddOptions, hasNewPackages: boolean, review: Review): void {
  if (hasNewPackages && options.skipInstall) review.next('Install the packages that package.json has now.');
  if (options.envExample) {
    review.next('Copy .env.example to .env, with addresses of yours, and start: npx nest start --env-file .env');
  }
  const classes = { postgres: 'PostgresPool', redis: 'RedisPool', http: 'HttpPool' } as const;
  for (const kind of options.kinds) {
    const name = options.poolNames[kind];
    review.next(`constructor(@InjectPool('${name}') private readonly ${variableName(name)}: ${classes[kind]}) {}`);
  }
  if (options.tenantHeader !== undefined) {
    review.next(
      `@UseInterceptors(TenantGuardInterceptor) on controllers whose requests name their tenant in ${options.tenantHeader}.`,
    );
  }
}

function variableName(pool: string): string {
  return pool
    .replace(/[^A-Za-z0-9]+(.)?/g, (_, next: string | undefined) => next?.toUpperCase() ?? '')
    .replace(/^\d/, '_$&');
}
