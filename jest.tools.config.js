import config, { toolRoots } from './jest.config.js';

/**
 * The tests of what is around the package: documentation, examples, schematics, scripts.
 *
 * @type {import('jest').Config}
 */
export default { ...config, roots: toolRoots };
