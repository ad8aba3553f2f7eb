/**
 * A plugin of `nest build`: the declarations of the package compile without its optional peers.
 *
 * They name types of pg, ioredis, axios and others, and an application has those that it uses. Under `skipLibCheck:
 * false` each of the others would be an error in the user's build (TS2307, or TS7016 where the package is there and its
 * types are not). Every mention gets a `// @ts-ignore` on the line before it, which changes nothing where the package
 * is found; where it isn't, its types are `any`.
 *
 * Done to the declarations and not written in the sources, where it would hide a misspelt name, and where the types
 * that the compiler infers and writes out as `import("pg").Client` can't have it.
 */
import { readFileSync } from 'node:fs';

import ts from 'typescript';

/** @type {{ peerDependenciesMeta: Record<string, { optional?: boolean }> }} */
const { peerDependenciesMeta } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** @param {string} specifier as in `import … from 'ioredis/built/DataHandler.js'` */
function isOptionalPeer(specifier) {
  return Object.entries(peerDependenciesMeta).some(
    ([name, { optional }]) => optional === true && (specifier === name || specifier.startsWith(`${name}/`)),
  );
}

/** @returns {ts.TransformerFactory<ts.SourceFile | ts.Bundle>} */
export function afterDeclarations() {
  return (context) => (root) => {
    /** @type {(node: ts.Node) => ts.Node} */
    const visit = (node) => {
      const specifier = specifierOf(node);
      if (specifier !== undefined && isOptionalPeer(specifier)) {
        ts.addSyntheticLeadingComment(node, ts.SyntaxKind.SingleLineCommentTrivia, ' @ts-ignore', true);
      }
      return ts.visitEachChild(node, visit, context);
    };
    return ts.visitEachChild(root, visit, context);
  };
}

/**
 * @param {ts.Node} node
 * @returns {string | undefined} what it imports types from
 */
function specifierOf(node) {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    return node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier) ? node.moduleSpecifier.text : undefined;
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
    return node.argument.literal.text;
  }
  return undefined;
}
