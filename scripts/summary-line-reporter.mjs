/**
 * A Jest reporter for CI: prints `N passed, N failed` alone on a line, for readers that don't know Jest.
 *
 * A test file that could not be run counts as a failure. So does a skipped test: in CI a missing server is an error,
 * not a reason.
 */
export default class SummaryLineReporter {
  /** @type {Error | undefined} */
  #verdict;

  /**
   * @param {unknown} _contexts
   * @param {import('@jest/reporters').AggregatedResult} results
   */
  onRunComplete(_contexts, results) {
    const skipped = results.numPendingTests + results.numTodoTests;
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites + skipped;
    if (skipped > 0) {
      this.#verdict = new Error(`${String(skipped)} tests were skipped: in CI every test must run.`);
    }
    if (this.#verdict !== undefined) console.error(this.#verdict.message);
    console.log(`${String(results.numPassedTests)} passed, ${String(failed)} failed`);
  }

  /** Jest fails the run with what this returns. */
  getLastError() {
    return this.#verdict;
  }
}
