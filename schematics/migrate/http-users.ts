/**
 * Classes that have an `HttpService` of @nestjs/axios, as far as one module must know of them: what is not among its
 * providers and controllers may still get the service from it.
 */
import type ts from 'typescript';

import { classes, decorator } from '../project/nest-syntax.js';
import { isTest, type Project } from '../project/project.js';
import type { CodeFile } from '../text/code-file.js';
import { importedFrom, localName } from '../text/imports.js';
import { Unsure } from './unsure.js';

export const NEST_AXIOS = '@nestjs/axios';

export interface FoundClass {
  readonly source: CodeFile;
  readonly declaration: ts.ClassDeclaration;
}

/**
 * Guards, interceptors, pipes and filters are made in each module whose controllers use them, and are in the metadata
 * of none.
 *
 * @throws Unsure for a class that gets an HttpService from a module that doesn't name it.
 */
export function checkStrays(project: Project): void {
  for (const file of project.sources()) {
    const local = localName(file, 'HttpService', NEST_AXIOS);
    if (local === undefined || isTest(file)) continue;
    for (const candidate of classes(file)) {
      const name = candidate.name?.text;
      if (name === undefined || !usesService(file, candidate) || !isNests(file, candidate)) continue;
      if (modulesOf(project, name).length > 0) continue;
      throw new Unsure(
        `${name} has an HttpService too and is in no module, as a guard may be; move it over by hand first`,
        file.at(candidate),
      );
    }
  }
}

function usesService(file: CodeFile, declaration: ts.ClassDeclaration): boolean {
  const { compiler } = file;
  const local = localName(file, 'HttpService', NEST_AXIOS);
  for (const node of file.nodes(declaration)) if (compiler.isIdentifier(node) && node.text === local) return true;
  return false;
}

/** Whether Nest may make a class: it or a part of it has a decorator. */
function isNests(file: CodeFile, declaration: ts.ClassDeclaration): boolean {
  for (const node of file.nodes(declaration)) if (file.compiler.isDecorator(node)) return true;
  return false;
}

/** The class that a file knows by a name. */
export function classNamed(project: Project, file: CodeFile, name: string): FoundClass | undefined {
  const specifier = importedFrom(file, name);
  const source = specifier === undefined ? file : project.resolve(file, specifier);
  const declaration = source && classes(source).find((candidate) => candidate.name?.text === name);
  return source === undefined || declaration === undefined ? undefined : { source, declaration };
}

/** A class with an HttpService that a piece of code names: `useClass: Billing`, `UseGuards(BillingGuard)`. */
export function namedUser(project: Project, file: CodeFile, code: ts.Node): string | undefined {
  for (const node of file.nodes(code)) {
    if (!file.compiler.isIdentifier(node)) continue;
    const found = classNamed(project, file, node.text);
    if (found !== undefined && usesService(found.source, found.declaration)) return node.text;
  }
  return undefined;
}

/** The modules whose metadata names a class. */
export function modulesOf(project: Project, className: string): string[] {
  return [...project.sources()]
    .filter((file) => !isTest(file))
    .flatMap((file) => modulesIn(file).filter(({ names }) => names.has(className)))
    .map(({ module }) => module);
}

interface ModuleNames {
  readonly module: string;
  /** What its metadata names. */
  readonly names: ReadonlySet<string>;
}

/** Each is asked for as many times as there are modules. */
const modulesByFile = new WeakMap<CodeFile, { readonly text: string; readonly modules: readonly ModuleNames[] }>();

function modulesIn(file: CodeFile): readonly ModuleNames[] {
  const known = modulesByFile.get(file);
  if (known?.text === file.text) return known.modules;
  const name = localName(file, 'Module', '@nestjs/common') ?? 'Module';
  const modules = !file.text.includes(`@${name}(`)
    ? []
    : classes(file).flatMap((found) => {
        const metadata = decorator(file, found, name);
        if (metadata === undefined) return [];
        const names = [...file.nodes(metadata)].filter((node) => file.compiler.isIdentifier(node));
        return [{ module: found.name?.text ?? '', names: new Set(names.map(({ text }) => text)) }];
      });
  modulesByFile.set(file, { text: file.text, modules });
  return modules;
}
