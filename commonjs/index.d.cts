/**
 * The types of a CommonJS file are those of the ES module: Node returns its namespace from `require`.
 */
// With `module: node16` or `node18` TypeScript doesn't know that Node can, and calls this line an error (TS1471).
// @ts-ignore
import pools = require('../dist/lib/index.js');
export = pools;
