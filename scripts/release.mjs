/**
 * `npm run release -- patch | minor | major | 1.2.3 [--publish]`: makes a release of what is committed on `main`.
 *
 * It refuses unless the tree is clean, the branch is main, the version is new, and CHANGELOG.md has something under
 * "Unreleased". Then `.ci/run` must pass, and `npm publish --dry-run` with the new version. Only then are version and
 * change log committed and tagged; with `--publish` the package is published, too. Until the commit nothing is left
 * changed by a release that fails.
 *
 * It pushes nothing: `git push --follow-tags` is the next step.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const CHANGED_FILES = ['package.json', 'package-lock.json', 'CHANGELOG.md'].filter((name) => existsSync(root + name));
const UNRELEASED = '## [Unreleased]';

const [wanted, ...flags] = process.argv.slice(2);
const publishes = flags.includes('--publish');
const current = JSON.parse(readFileSync(`${root}package.json`, 'utf8')).version;
const version = nextVersion(current, wanted);
const changelog = readFileSync(`${root}CHANGELOG.md`, 'utf8');

if (version === undefined || flags.some((flag) => flag !== '--publish')) {
  refuse('Usage: npm run release -- patch | minor | major | 1.2.3 [--publish]');
}
if (!isNewer(version, current)) refuse(`${version} is not newer than ${current}, which package.json has.`);
if (output('git', 'status', '--porcelain') !== '') refuse('The tree is dirty: commit or stash first.');
const branch = output('git', 'branch', '--show-current');
if (branch !== 'main') refuse(`Releases are made from main, not from ${branch || 'a detached HEAD'}.`);
const tag = `v${version}`;
if (output('git', 'tag', '--list', tag) !== '') refuse(`There is a tag ${tag} already.`);
const [, unreleased = ''] = changelog.split(/^## .*$/m);
if (!changelog.includes(UNRELEASED) || unreleased.trim() === '') refuse('CHANGELOG.md has nothing under "Unreleased".');

if (!succeeds('bash', '.ci/run')) refuse('The checks failed: nothing was changed.');

const today = new Date().toISOString().slice(0, 10);
try {
  writeFileSync(`${root}CHANGELOG.md`, changelog.replace(UNRELEASED, `${UNRELEASED}\n\n## [${version}] - ${today}`));
  step('npm', 'version', version, '--no-git-tag-version');
  step('npm', 'publish', '--dry-run');
  step('git', 'commit', '--quiet', '-m', `Release ${version}`, '--', ...CHANGED_FILES);
} catch (error) {
  succeeds('git', 'restore', '--', ...CHANGED_FILES);
  refuse(`${String(error)}: version and change log are as they were.`);
}
try {
  step('git', 'tag', '-a', tag, '-m', tag);
  if (publishes) step('npm', 'publish');
} catch (error) {
  refuse(`${String(error)}. The commit of ${version} is made: go on from there, or undo it with git reset.`);
}
console.log(
  `${publishes ? 'Published' : 'Prepared'} ${version}. Next: git push --follow-tags${publishes ? '' : ', npm publish'}`,
);

/**
 * @param {string} version
 * @param {string | undefined} wanted
 * @returns {string | undefined} undefined where `wanted` is neither a step nor a version
 */
function nextVersion(version, wanted) {
  const [major = 0, minor = 0, patch = 0] = numbersOf(version);
  switch (wanted) {
    case 'major':
      return `${major + 1}.0.0`;
    case 'minor':
      return `${major}.${minor + 1}.0`;
    case 'patch':
      return `${major}.${minor}.${patch + 1}`;
    default:
      return /^\d+\.\d+\.\d+$/.test(wanted ?? '') ? wanted : undefined;
  }
}

/**
 * @param {string} version
 * @param {string} than
 */
function isNewer(version, than) {
  const old = numbersOf(than);
  const difference = numbersOf(version)
    .map((number, index) => number - (old[index] ?? 0))
    .find((step) => step !== 0);
  return difference !== undefined && difference > 0;
}

/** @param {string} version */
function numbersOf(version) {
  return version.split('.').map(Number);
}

/**
 * @param {string} program
 * @param {...string} args
 * @returns {string} what it printed
 */
function output(program, ...args) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) refuse(`${program} ${args.join(' ')} failed:\n${stderr}`);
  return stdout.trim();
}

/**
 * @param {string} program
 * @param {...string} args
 * @throws {Error} when it fails
 */
function step(program, ...args) {
  if (!succeeds(program, ...args)) throw new Error(`${program} ${args.join(' ')} failed`);
}

/**
 * @param {string} program
 * @param {...string} args
 */
function succeeds(program, ...args) {
  return spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status === 0;
}

/**
 * @param {string} why
 * @returns {never}
 */
function refuse(why) {
  console.error(why);
  process.exit(1);
}
