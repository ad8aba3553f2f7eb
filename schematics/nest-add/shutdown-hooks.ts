/**
 * Shutdown hooks in the main file: with them the pools are closed when the process is told to end.
 */
import type ts from 'typescript';

import { factoryCall } from '../project/nest-syntax.js';
import type { Project } from '../project/project.js';
import type { Review } from '../project/review.js';
import { compareVersions, type Version } from '../project/version-range.js';
import type { CodeFile } from '../text/code-file.js';

/** The first Nest 11 with `useProcessExit`. */
const USE_PROCESS_EXIT: Version = [11, 1, 12];

export function enableShutdownHooks(project: Project, review: Review): void {
  const file = project.file(project.mainPath);
  const exit = hasProcessExit(project);
  const args = exit ? 'undefined, { useProcessExit: true }' : '';
  if (file === undefined) {
    review.open(
      project.mainPath.slice(1),
      `there is no such file: call app.enableShutdownHooks(${args}) before app.listen()`,
    );
    return;
  }
  const present = hooksCall(file);
  if (present !== undefined) {
    if (exit && !present.getText(file.syntax).includes('useProcessExit')) {
      const reason =
        'without { useProcessExit: true } as its second argument the process ends by the signal, with exit code 143';
      review.open(file.at(present), `enableShutdownHooks is on; ${reason}`);
    }
    return;
  }
  const application = factoryCall(file);
  const name = application === undefined ? undefined : variableOf(file, application);
  const listen = name === undefined ? undefined : listenStatement(file, name);
  if (name === undefined || listen === undefined) {
    const place = application === undefined ? project.mainPath.slice(1) : file.at(application);
    review.open(place, `the pools close with Nest's shutdown hooks: call enableShutdownHooks(${args}) before listen()`);
    return;
  }
  const style = project.style(file);
  const start = listen.getStart(file.syntax);
  const call = `${name}.enableShutdownHooks(${args})${style.semicolon}`;
  file.apply({ start, end: start, text: `${call}\n${file.indentAt(start)}` });
  review.done(`${file.path.slice(1)}: shutdown hooks`);
}

function hasProcessExit(project: Project): boolean {
  const installed = project.installedVersion('@nestjs/core');
  return installed === undefined || compareVersions(installed, USE_PROCESS_EXIT) >= 0;
}

function hooksCall(file: CodeFile): ts.Node | undefined {
  const { compiler } = file;
  for (const node of file.nodes()) {
    if (
      compiler.isCallExpression(node) &&
      compiler.isPropertyAccessExpression(node.expression) &&
      node.expression.name.text === 'enableShutdownHooks'
    ) {
      return node;
    }
  }
  return undefined;
}

/** `app` in `const app = await NestFactory.create(AppModule)`. */
function variableOf({ compiler }: CodeFile, call: ts.CallExpression): string | undefined {
  for (let node: ts.Node = call; !compiler.isSourceFile(node); node = node.parent) {
    if (compiler.isVariableDeclaration(node)) return compiler.isIdentifier(node.name) ? node.name.text : undefined;
    if (compiler.isStatement(node)) return undefined;
  }
  return undefined;
}

/** The statement that starts the application: `await app.listen(3000)`. */
function listenStatement(file: CodeFile, variable: string): ts.Statement | undefined {
  const { compiler } = file;
  for (const node of file.nodes()) {
    if (!compiler.isCallExpression(node) || !compiler.isPropertyAccessExpression(node.expression)) continue;
    const { expression, name } = node.expression;
    if (name.text !== 'listen' || expression.getText(file.syntax) !== variable) continue;
    for (let parent: ts.Node = node; !compiler.isSourceFile(parent); parent = parent.parent) {
      // A line of its own goes only into a block.
      if (compiler.isStatement(parent) && (compiler.isBlock(parent.parent) || compiler.isSourceFile(parent.parent))) {
        return parent;
      }
    }
  }
  return undefined;
}
