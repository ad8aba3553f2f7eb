/**
 * The packages behind the kinds of pool, at versions that fit the project's Nest and Node.
 */
import { property } from '../project/nest-syntax.js';
import { jsonObject, type Project } from '../project/project.js';
import type { Review } from '../project/review.js';
import { compareVersions, isInRange, lowestVersion, type Version } from '../project/version-range.js';
import { addMember } from '../text/members.js';
import type { NestAddOptions } from './nest-add.options.js';

interface WantedPackage {
  readonly name: string;
  readonly range: string;
  readonly group: 'dependencies' | 'devDependencies';
}

/** What this package works with: the ranges of its peers; of undici, of which any may be installed, what it uses. */
export const PEER_RANGES: Readonly<Record<string, string>> = {
  '@nestjs/axios': '^4.0.0 || ^12.0.0',
  '@nestjs/terminus': '^11.0.0 || ^12.0.0',
  axios: '^1.7.0',
  ioredis: '^5.4.0 || ^6.0.0',
  pg: '^8.21.0',
  undici: '>=7.0.0 <7.26.0 || >=8.0.0 <8.3.0 || ^8.4.1',
};

/** undici 8 needs it. */
const NODE_FOR_UNDICI_8: Version = [22, 19, 0];

export function wantedPackages(
  { kinds, health }: Pick<NestAddOptions, 'kinds' | 'health'>,
  nest: number,
  node: Version,
): WantedPackage[] {
  const isEsModule = nest >= 12;
  const packages: WantedPackage[] = [];
  const add = (name: string, range: string, group: WantedPackage['group'] = 'dependencies') =>
    void packages.push({ name, range, group });
  // Terminus 12 and @nestjs/axios 12 are ES modules, which the ts-jest of a Nest 11 project can't load.
  if (health) add('@nestjs/terminus', isEsModule ? '^12.0.0' : '^11.0.0');
  if (kinds.includes('postgres')) {
    add('pg', '^8.21.0');
    add('@types/pg', '^8.20.0', 'devDependencies');
  }
  if (kinds.includes('redis')) add('ioredis', '^6.0.0');
  if (kinds.includes('http')) {
    add('@nestjs/axios', isEsModule ? '^12.0.0' : '^4.0.0');
    add('axios', '^1.7.0');
    add('undici', compareVersions(node, NODE_FOR_UNDICI_8) >= 0 ? '^8.4.1' : '~7.25.0');
  }
  return packages;
}

/**
 * Adds to package.json what is missing there. What is there stays as it is, and is reported where it doesn't fit.
 *
 * @returns whether there is something to install.
 */
export function addPackages(project: Project, options: NestAddOptions, review: Review): boolean {
  const node = lowestVersion(process.versions.node) ?? [20, 19, 0];
  const added: string[] = [];
  for (const wanted of wantedPackages(options, project.nest ?? 12, node)) {
    const present = project.dependency(wanted.name);
    if (present === undefined) {
      addDependency(project, wanted);
      added.push(`${wanted.name}@${wanted.range}`);
      continue;
    }
    const peers = PEER_RANGES[wanted.name];
    const version = project.version(wanted.name);
    if (peers !== undefined && version !== undefined && !isInRange(version, peers)) {
      const fit = `${wanted.name} is ${version.join('.')}, and the pools need ${peers}: npm install "${wanted.name}@${wanted.range}"`;
      review.open('package.json', fit);
    }
    if (present.group === 'devDependencies' && wanted.group === 'dependencies') {
      review.open(
        'package.json',
        `${wanted.name} is a devDependency, and the application needs it: move it to dependencies`,
      );
    }
  }
  if (added.length > 0) review.done(`package.json: ${added.join(', ')}`);
  return added.length > 0;
}

function addDependency(project: Project, { name, range, group }: WantedPackage): void {
  const file = project.file('/package.json');
  const root = file === undefined ? undefined : jsonObject(file);
  if (file === undefined || root === undefined) return;
  const style = project.style(file);
  if (property(file, root, group) === undefined) addMember(file, root, `"${group}": {}`, style);
  const again = jsonObject(file);
  const list = again === undefined ? undefined : property(file, again, group)?.initializer;
  if (list === undefined || !file.compiler.isObjectLiteralExpression(list)) return;
  // In the order of the alphabet, as package managers write it.
  const after = list.properties.findIndex(
    (member) => member.name !== undefined && member.name.getText(file.syntax) > `"${name}"`,
  );
  addMember(file, list, `"${name}": "${range}"`, style, after === -1 ? undefined : after);
}
