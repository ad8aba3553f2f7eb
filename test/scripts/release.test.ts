import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { projectRoot } from '../support/servers/project-root.js';

const CHANGELOG = '# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n- A leak.\n\n## [1.2.3] - 2020-01-01\n\n- All.\n';

describe('a release', () => {
  let repository: string;

  beforeEach(() => {
    repository = mkdtempSync(join(realpathSync(tmpdir()), 'release-'));
    mkdirSync(join(repository, 'scripts'));
    mkdirSync(join(repository, '.ci'));
    cpSync(join(projectRoot, 'scripts/release.mjs'), join(repository, 'scripts/release.mjs'));
    write('package.json', JSON.stringify({ name: 'a-package-that-is-never-published', version: '1.2.3' }));
    write('CHANGELOG.md', CHANGELOG);
    write('.ci/run', 'echo the checks ran');
    git('init', '--quiet', '--initial-branch', 'main');
    commit('All.');
  });

  afterEach(() => {
    rmSync(repository, { recursive: true });
  });

  it.each([
    ['minor', '1.3.0'],
    ['major', '2.0.0'],
    ['1.10.0', '1.10.0'],
  ])('of %s dates the change log, and commits and tags %s', (wanted, version) => {
    expect(release(wanted)).toMatchObject({ status: 0, output: expect.stringContaining('the checks ran') });
    expect(JSON.parse(read('package.json'))).toMatchObject({ version });
    expect(read('CHANGELOG.md')).toMatch(
      new RegExp(
        `^## \\[Unreleased\\]\n\n## \\[${version}\\] - \\d{4}-\\d\\d-\\d\\d\n\n### Fixed\n\n- A leak\\.$`,
        'm',
      ),
    );
    expect(git('status', '--porcelain')).toBe('');
    expect(git('log', '-1', '--format=%s')).toBe(`Release ${version}`);
    expect(git('describe', '--tags')).toBe(`v${version}`);
  });

  it.each<[string, string, () => void, RegExp]>([
    ['from a dirty tree', 'patch', () => write('stray.txt', 'x'), /tree is dirty/],
    ['from another branch', 'patch', () => void git('switch', '--quiet', '-c', 'topic'), /not from topic/],
    ['of a version that is older', '1.2.2', () => {}, /not newer than 1\.2\.3/],
    ['of the same version', '1.2.3', () => {}, /not newer than 1\.2\.3/],
    ['of a tag that exists', 'patch', () => void git('tag', 'v1.2.4'), /there is a tag v1\.2\.4/i],
    [
      'of nothing new',
      'patch',
      () => change('CHANGELOG.md', CHANGELOG.replace(/### Fixed[^]*leak\./, '')),
      /nothing under/,
    ],
    ['whose checks fail', 'patch', () => change('.ci/run', 'exit 1'), /checks failed/],
    [
      'that npm would refuse',
      'patch',
      () => change('package.json', '{"name":"X Y","version":"1.2.3"}'),
      /npm .* failed/,
    ],
    ['of no version', 'next', () => {}, /^Usage/m],
  ])('%s is refused, and nothing is changed', (_, wanted, prepare, why) => {
    prepare();
    const before = [git('rev-parse', 'HEAD'), git('status', '--porcelain'), git('tag')];
    expect(release(wanted)).toMatchObject({ status: 1, output: expect.stringMatching(why) });
    expect([git('rev-parse', 'HEAD'), git('status', '--porcelain'), git('tag')]).toEqual(before);
  });

  function release(...args: string[]): { status: number | null; output: string } {
    const { status, stdout, stderr } = run(process.execPath, 'scripts/release.mjs', ...args);
    return { status, output: `${stdout}${stderr}` };
  }

  function git(...args: string[]): string {
    const { status, stdout, stderr } = run('git', ...args);
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  function commit(message: string): void {
    git('add', '.');
    git('commit', '--quiet', '-m', message);
  }

  function change(path: string, content: string): void {
    write(path, content);
    commit(`Change ${path}`);
  }

  function write(path: string, content: string): void {
    writeFileSync(join(repository, path), content);
  }

  function read(path: string): string {
    return readFileSync(join(repository, path), 'utf8');
  }

  function run(program: string, ...args: string[]) {
    const author = { GIT_AUTHOR_NAME: 'A', GIT_AUTHOR_EMAIL: 'a@localhost' };
    const committer = { GIT_COMMITTER_NAME: 'A', GIT_COMMITTER_EMAIL: 'a@localhost' };
    // A dry run asks the registry for earlier versions, and does without an answer.
    const offline = { npm_config_registry: 'http://127.0.0.1:1', npm_config_fetch_retries: '0' };
    return spawnSync(program, args, {
      cwd: repository,
      encoding: 'utf8',
      env: { ...process.env, ...author, ...committer, ...offline, NODE_OPTIONS: '', npm_config_node_options: '' },
    });
  }
});
