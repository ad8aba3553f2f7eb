/** For pools whose log lines are no part of the matrix. */
const ignore = () => {};

export const quiet = { logger: { log: ignore, warn: ignore, error: ignore, debug: ignore, verbose: ignore } };
