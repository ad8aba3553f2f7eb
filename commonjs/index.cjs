/**
 * The package as a CommonJS file requires it: the ES module itself, which every Node in `engines` can load so. There is
 * one copy of each class, also where `import` and `require` meet.
 */
module.exports = require('../dist/bundle/index.js');
