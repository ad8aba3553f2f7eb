import { describe, expect, it } from '@jest/globals';

import { differences, failures, readRun, spanProblems, summary } from '../../scripts/apm/verdict.mjs';

const QUERY = { kind: 'pg', text: 'select $1', failed: false };
const FAILING = { kind: 'pg', text: 'select $1', failed: true };

/** What an application writes down that makes one call with one statement, with changes. */
const journal = (...changes: readonly object[]) =>
  readRun(
    [
      { entry: 'call', call: 'query', spans: [QUERY] },
      { entry: 'result', call: 'query', compared: true, value: [1] },
      ...changes,
      { entry: 'end' },
    ]
      .map((entry) => `${JSON.stringify(entry)}\n`)
      .join(''),
  );

const own = { id: 'call', kind: 'call', text: 'query', failed: false, ended: true };
const statement = { id: 'statement', parent: 'call', ...QUERY, ended: true };
const spans = (...recorded: readonly object[]) => ({
  entry: 'spans',
  covers: ['pg'],
  spans: recorded,
});
const problemsOf = (run: Parameters<typeof spanProblems>[0]) =>
  spanProblems(run).map(({ call, what }) => `${call}: ${what}`);

describe('the answers under an APM', () => {
  const control = journal();

  it('are right when they are those of the run without', () => {
    expect(differences(journal(), control)).toEqual([]);
    expect(failures(control)).toEqual([]);
  });

  it.each([
    ['another value', { entry: 'result', call: 'query', compared: true, value: [2] }, 'expected [1], got [2]'],
    [
      'an error',
      { entry: 'result', call: 'query', compared: true, error: { name: 'Error', code: 'X', message: 'no' } },
      'expected [1], got an error (Error X: no)',
    ],
    ['a call that was kept from being made', { entry: 'untried', call: 'query' }, 'was not tried'],
    ['a call of its own', { entry: 'result', call: 'another', compared: true, value: 0 }, 'is not made without an APM'],
    [
      'an uncaught exception',
      { entry: 'uncaught', event: 'uncaughtException', stack: 'Error: no\n  at x\n  at y' },
      'at x',
    ],
    [
      'a failed call that is not compared',
      { entry: 'result', call: 'c', compared: false, error: { message: 'no' } },
      'no',
    ],
  ])('differ by %s', (_, change, what) => {
    const [problem, ...others] = differences(journal(change), control);
    expect(problem?.what).toContain(what);
    expect(others).toEqual([]);
  });

  it('differ by a call that never ends, or is never made, or a process that does not reach its end', () => {
    const made = JSON.stringify({ entry: 'call', call: 'query', spans: [] });
    const whats = (text: string) => differences(readRun(text), control).map(({ what }) => what);
    expect(whats(made)).toEqual(['the program did not reach its end', 'did not finish']);
    expect(whats('{"entry":"end"}')).toEqual(['was never made']);
  });

  it('without an APM fail by a call that fails', () => {
    const broken = journal({ entry: 'result', call: 'query', compared: true, error: { message: 'no' } });
    expect(failures(broken)).toHaveLength(1);
  });
});

describe('the spans under an APM', () => {
  it('are right when there is one for each statement, below its call', () => {
    expect(problemsOf(journal(spans(own, statement)))).toEqual([]);
  });

  it('may have other spans between call and statement, and of kinds that are not looked at', () => {
    const between = { id: 'between', parent: 'call', kind: 'other', text: 'x', failed: false, ended: true };
    expect(problemsOf(journal(spans(own, between, { ...statement, parent: 'between' })))).toEqual([]);
  });

  it.each([
    ['no span', [own], ['query: missing: pg span "select $1"']],
    [
      'another text',
      [own, { ...statement, text: 'x' }],
      ['query: missing: pg span "select $1"', 'query: not asked for: pg span "x"'],
    ],
    ['two spans', [own, statement, { ...statement, id: '2' }], ['query: not asked for: pg span "select $1"']],
    ['a span that never ends', [own, { ...statement, ended: false }], ['query: never ended: pg span "select $1"']],
    [
      'a span that never ends, of a kind that is not looked at',
      [own, statement, { id: 'x', kind: 'connect', text: 'x', failed: false, ended: false }],
      ['no call: never ended: connect span "x"'],
    ],
    [
      'a span that says it failed',
      [own, { ...statement, failed: true }],
      ['query: pg span "select $1": is marked as failed'],
    ],
    [
      'a span without a parent',
      [own, { ...statement, parent: undefined }],
      ['no call: below no call: pg span "select $1"', 'query: missing: pg span "select $1"'],
    ],
    ['no span of the call itself', [], ['query: has no span of its own']],
  ])('are wrong with %s', (_, recorded, problems) => {
    expect(problemsOf(journal(spans(...recorded)))).toEqual(problems);
  });

  it('are wrong below another call than the one that made them', () => {
    const other = { entry: 'call', call: 'other', spans: [] };
    const ownOther = { ...own, id: 'other', text: 'other' };
    expect(problemsOf(journal(other, spans(own, ownOther, { ...statement, parent: 'other' })))).toEqual([
      'query: missing: pg span "select $1"',
      'other: not asked for: pg span "select $1"',
    ]);
  });

  it('tell a failed statement from one with the same text that worked', () => {
    const both = { entry: 'call', call: 'both', spans: [QUERY, FAILING] };
    const ownBoth = { ...own, id: 'both', text: 'both' };
    const worked = { ...statement, id: '1', parent: 'both' };
    const failed = { ...worked, id: '2', failed: true };
    const run = (...recorded: object[]) => problemsOf(journal(both, spans(own, statement, ownBoth, ...recorded)));
    expect(run(failed, worked)).toEqual([]);
    expect(run(worked, { ...worked, id: '2' })).toEqual(['both: pg span "select $1": is not marked as failed']);
  });

  it('may be alone where the application says so, and nowhere else', () => {
    const alone = { id: 'x', kind: 'pg', text: 'set x', failed: false, ended: true };
    const said = { entry: 'alone', span: { kind: 'pg', text: 'set x' } };
    expect(problemsOf(journal(said, spans(own, statement, alone)))).toEqual([]);
    expect(problemsOf(journal(spans(own, statement, alone)))).toEqual(['no call: below no call: pg span "set x"']);
  });

  it('are wrong when what the server was told does not name them', () => {
    const carried = { entry: 'carried', call: 'query', problem: 'does not name its span' };
    expect(problemsOf(journal(carried, spans(own, statement)))).toEqual(['query: does not name its span']);
  });

  it('of kinds that the APM does not record are not missed', () => {
    expect(problemsOf(journal({ entry: 'spans', covers: [], spans: [own] }))).toEqual([]);
  });
});

describe('the journal and the summary', () => {
  it('refuse two calls of one name and entries of an unknown kind', () => {
    expect(() => journal({ entry: 'call', call: 'query', spans: [] })).toThrow('Two calls have the name query');
    expect(() => journal({ entry: 'odd' })).toThrow('unknown kind');
  });

  it('say each kind of problem once, with the first call that has it', () => {
    expect(
      summary([
        { call: 'a', what: 'x' },
        { call: 'b', what: 'x' },
        { call: 'no call', what: 'y' },
        { call: 'no call', what: 'y' },
        { call: 'c', what: 'z' },
      ]),
    ).toEqual(['x, in "a" and 1 more', 'y (2 times)', 'z, in "c"']);
  });
});
