// Node's warnings, of which the tests of errors that are thrown at the engine make many.
import { afterEach, beforeEach, jest } from '@jest/globals';

type Warn = jest.SpiedFunction<typeof process.emitWarning>;

/** Keeps what each test warns of from being printed, and hands it to the test. */
export function withSilentWarnings(given: (warn: Warn) => void = () => undefined): void {
  beforeEach(() => given(jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined)));
  afterEach(() => void jest.restoreAllMocks());
}
