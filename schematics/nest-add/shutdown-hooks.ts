/**
 * Shutdown hooks in the main file: with them the pools are closed when the process is told to end.
 */
import type ts from 'typescript';

import { factoryCall } from '../project/nest-syntax.js';
import { isTest, type Project } from '../project/project.js';
import type { Review } from '../project/review.js';
import { compareVersions, type Version } from '../project/version-range.js';
import type { CodeFile } from '../text/code-file.js';
import { localName } from '../text/imports.js';

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
  const present = hooksCall([file, ...otherFiles(project, file)]);
  if (present !== undefined) {
    if (exit && !present.call.getText(present.file.syntax).includes('useProcessExit')) {
      const reason =
        'without { useProcessExit: true } as its second argument the process ends by the signal, with exit code 143';
      review.open(present.file.at(present.call), `enableShutdownHooks is on; ${reason}`);
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
  // Without it, what begins like this would go on with the line before.
  const semicolon = /[([`]/.test(file.text.charAt(start)) ? ';' : style.semicolon;
  const call = `${name}.enableShutdownHooks(${args})${semicolon}`;
  file.apply({ start, end: start, text: `${call}\n${file.indentAt(start)}` });
  review.done(`${file.path.slice(1)}: shutdown hooks`);
}

function hasProcessExit(project: Project): boolean {
  const installed = project.installedVersion('@nestjs/core');
  return installed === undefined || compareVersions(installed, USE_PROCESS_EXIT) >= 0;
}

/** The files of the application without tests, and without other programs, which have applications of their own. */
function otherFiles(project: Project, main: CodeFile): CodeFile[] {
  return [...project.sources()].filter(
    (file) => file !== main && !isTest(file) && localName(file, 'NestFactory', '@nestjs/core') === undefined,
  );
}

/** The call in the main file, or in a function of the application that is called there. */
function hooksCall(files: readonly CodeFile[]): { readonly file: CodeFile; readonly call: ts.Node } | undefined {
  for (const file of files) {
    const { compiler } = file;
    if (!file.text.includes('enableShutdownHooks')) continue;
    for (const node of file.nodes()) {
      if (
        compiler.isCallExpression(node) &&
        compiler.isPropertyAccessExpression(node.expression) &&
        node.expression.name.text === 'enableShutdownHooks'
      ) {
        return { file, call: node };
      }
    }
  }
  return undefined;
}

/** `app` in `const app = await NestFactory.create(AppModule)`: the application itself, not something that it has. */
function variableOf({ compiler }: CodeFile, call: ts.CallExpression): string | undefined {
  let node: ts.Node = call.parent;
  while (
    compiler.isAwaitExpression(node) ||
    compiler.isParenthesizedExpression(node) ||
    compiler.isAsExpression(node) ||
    compiler.isSatisfiesExpression(node)
  ) {
    node = node.parent;
  }
  return compiler.isVariableDeclaration(node) && compiler.isIdentifier(node.name) ? node.name.text : undefined;
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
