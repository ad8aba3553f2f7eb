/**
 * What one run of the application shows, and where it differs from the run without an APM.
 *
 * @typedef {object} ExpectedSpan
 * @property {string} kind
 * @property {string} text the statement, the name of the command, or method and path of the request
 * @property {string} [redacted] the text without its literals, as good as the whole one
 * @property {boolean} [failed] whether it must say that it failed; left out: either
 *
 * @typedef {object} Span
 * @property {string} id
 * @property {string} [parent]
 * @property {string} kind `call` is one of the application's own
 * @property {string} text
 * @property {boolean} failed
 * @property {boolean} ended
 *
 * @typedef {{ value: unknown, error?: undefined } | { value?: undefined, error: { name?: string, code?: string,
 * message: string } }} Outcome
 *
 * @typedef {object} Run
 * @property {Map<string, readonly ExpectedSpan[]>} expected the spans that each call must leave
 * @property {Map<string, Outcome>} compared what each call came to, where that is the same under every APM
 * @property {Map<string, Outcome>} uncompared
 * @property {readonly ExpectedSpan[]} alone spans that may be below no call
 * @property {readonly string[]} untried calls that an earlier one, which hung, kept from being made
 * @property {readonly string[]} uncaught
 * @property {readonly { call: string, problem?: string }[]} carried
 * @property {readonly string[]} covers the kinds of spans that the APM records
 * @property {readonly Span[]} spans
 * @property {boolean} complete
 */

/**
 * @param {string} journal what the application wrote down (application/journal.mjs)
 * @returns {Run}
 */
export function readRun(journal) {
  /** @type {Map<string, readonly ExpectedSpan[]>} */
  const expected = new Map();
  /** @type {Map<string, Outcome>} */
  const compared = new Map();
  /** @type {Map<string, Outcome>} */
  const uncompared = new Map();
  const alone = [];
  const untried = [];
  const uncaught = [];
  const carried = [];
  /** @type {readonly string[]} */
  let covers = [];
  /** @type {readonly Span[]} */
  let spans = [];
  let complete = false;
  for (const line of journal.split('\n')) {
    if (line === '') continue;
    const entry = JSON.parse(line);
    switch (entry.entry) {
      case 'call':
        if (expected.has(entry.call)) throw new Error(`Two calls have the name ${entry.call}.`);
        expected.set(entry.call, entry.spans);
        break;
      case 'result':
        (entry.compared ? compared : uncompared).set(entry.call, outcomeOf(entry));
        break;
      case 'alone':
        alone.push(entry.span);
        break;
      case 'untried':
        untried.push(entry.call);
        break;
      case 'uncaught':
        uncaught.push(`${entry.event}: ${entry.stack.split('\n').slice(0, 2).join('')}`);
        break;
      case 'carried':
        carried.push(entry);
        break;
      case 'spans':
        ({ covers, spans } = entry);
        break;
      case 'end':
        complete = true;
        break;
      default:
        throw new Error(`The journal has an entry of an unknown kind: ${line}`);
    }
  }
  return { expected, compared, uncompared, alone, untried, uncaught, carried, covers, spans, complete };
}

/**
 * @param {{ error?: { name?: string, code?: string, message: string }, value?: unknown }} entry
 * @returns {Outcome}
 */
function outcomeOf({ error, value }) {
  return error === undefined ? { value } : { error };
}

/**
 * Something that is not as it must be, and the call where it shows.
 *
 * @typedef {{ readonly call: string, readonly what: string }} Problem
 */

/** Where a problem is that no call has. */
const NOWHERE = 'no call';

/**
 * Where a run differs from the one without an APM, apart from what the APM recorded.
 *
 * @param {Run} run
 * @param {Run} control
 * @returns {Problem[]}
 */
export function differences(run, control) {
  const problems = incidents(run);
  for (const call of run.untried) problems.push({ call, what: 'was not tried, because a call before it hung' });
  for (const [call, outcome] of run.uncompared) {
    if (outcome.error !== undefined) problems.push({ call, what: shown(outcome) });
  }
  for (const [call, outcome] of control.compared) {
    if (run.untried.includes(call)) continue;
    const got = run.compared.get(call);
    if (got === undefined) problems.push({ call, what: run.expected.has(call) ? 'did not finish' : 'was never made' });
    else if (JSON.stringify(got) !== JSON.stringify(outcome)) {
      problems.push({ call, what: `expected ${shown(outcome)}, got ${shown(got)}` });
    }
  }
  for (const call of run.compared.keys()) {
    if (!control.compared.has(call)) problems.push({ call, what: 'is not made without an APM' });
  }
  return problems;
}

/**
 * Calls that failed: where there is no APM, none may.
 *
 * @param {Run} run
 * @returns {Problem[]}
 */
export function failures(run) {
  const problems = incidents(run);
  for (const [call, outcome] of [...run.compared, ...run.uncompared]) {
    if (outcome.error !== undefined) problems.push({ call, what: shown(outcome) });
  }
  return problems;
}

/**
 * What went wrong with the process itself.
 *
 * @param {Run} run
 * @returns {Problem[]}
 */
function incidents({ uncaught, complete }) {
  const problems = uncaught.map((error) => ({ call: NOWHERE, what: `uncaught ${error}` }));
  return complete ? problems : [...problems, { call: NOWHERE, what: 'the program did not reach its end' }];
}

/**
 * What is wrong with the spans that the APM recorded.
 *
 * @param {Run} run
 * @returns {Problem[]}
 */
export function spanProblems({ expected, alone, spans, covers, carried }) {
  /** @type {Problem[]} */
  const problems = [];
  const byId = new Map(spans.map((span) => [span.id, span]));
  /** @type {Map<string, Span[]>} the spans below each call, by its name */
  const below = new Map();
  for (const span of spans) if (span.kind === 'call') below.set(span.text, []);
  for (const span of spans) {
    if (span.kind === 'call') continue;
    const call = callAbove(span, byId);
    if (!span.ended) problems.push({ call: call ?? NOWHERE, what: `never ended: ${named(span)}` });
    if (!covers.includes(span.kind)) continue;
    if (call !== undefined) below.get(call)?.push(span);
    else if (!alone.some(({ kind, text }) => kind === span.kind && text === span.text))
      problems.push({ call: NOWHERE, what: `below no call: ${named(span)}` });
  }
  for (const [call, wanted] of expected) {
    const got = below.get(call);
    if (got === undefined) problems.push({ call, what: 'has no span of its own' });
    else {
      const whats = mismatches(
        wanted.filter(({ kind }) => covers.includes(kind)),
        got,
      );
      problems.push(...whats.map((what) => ({ call, what })));
    }
  }
  for (const { call, problem } of carried) if (problem !== undefined) problems.push({ call, what: problem });
  return problems;
}

/**
 * A line for each kind of problem, with the first call that has it.
 *
 * @param {readonly Problem[]} problems
 * @returns {string[]}
 */
export function summary(problems) {
  /** @type {Map<string, string[]>} */
  const calls = new Map();
  for (const { call, what } of problems) calls.set(what, [...(calls.get(what) ?? []), call]);
  return [...calls].map(([what, [first, ...others]]) => {
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    return first === NOWHERE
      ? `${what}${others.length === 0 ? '' : ` (${others.length + 1} times)`}`
      : `${what}, in "${first}"${more}`;
  });
}

/**
 * @param {readonly ExpectedSpan[]} wanted
 * @param {readonly Span[]} got
 * @returns {string[]}
 */
function mismatches(wanted, got) {
  const left = [...got];
  const problems = [];
  // Those that must have failed, or must not, choose first.
  for (const span of [...wanted].sort((a, b) => Number(a.failed === undefined) - Number(b.failed === undefined))) {
    const texts = [span.text, span.redacted ?? span.text];
    const same = left.filter(({ kind, text }) => kind === span.kind && texts.includes(text));
    const match = same.find(({ failed }) => span.failed === undefined || failed === span.failed) ?? same[0];
    if (match === undefined) {
      problems.push(`missing: ${named(span)}`);
      continue;
    }
    left.splice(left.indexOf(match), 1);
    if (span.failed !== undefined && match.failed !== span.failed) {
      problems.push(`${named(span)}: ${span.failed ? 'is not marked as failed' : 'is marked as failed'}`);
    }
  }
  for (const span of left) problems.push(`not asked for: ${named(span)}`);
  return problems;
}

/**
 * The nearest call of the application above a span.
 *
 * @param {Span} span
 * @param {Map<string, Span>} byId
 * @returns {string | undefined}
 */
function callAbove(span, byId) {
  for (let above = byId.get(span.parent ?? ''); above !== undefined; above = byId.get(above.parent ?? '')) {
    if (above.kind === 'call') return above.text;
  }
  return undefined;
}

/** @param {{ kind: string, text: string }} span */
function named({ kind, text }) {
  return `${kind} span "${text}"`;
}

/** @param {Outcome} outcome */
function shown({ error, value }) {
  if (error === undefined) return JSON.stringify(value);
  return `an error (${error.name ?? 'Error'}${error.code === undefined ? '' : ` ${error.code}`}: ${error.message})`;
}
