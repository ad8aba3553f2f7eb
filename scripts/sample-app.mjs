/**
 * `npm start` and `npm run demo`: installs and builds what is missing, then runs the compiled sample app in this same
 * process, so that a signal reaches it directly and its exit code is the command's. (For the same reason package.json
 * says `exec`: npm forwards signals to its shell, which would die of them instead of passing them on.)
 *
 * Usage: node scripts/sample-app.mjs start|demo
 */
import './ensure-installed.mjs';
import './ensure-built.mjs';

const entry = process.argv[2] === 'demo' ? 'demo' : 'start';
await import(new URL(`../dist/sample-app/${entry}.js`, import.meta.url).href);
