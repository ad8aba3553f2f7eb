/**
 * Runs code of a caller's (a callback, a listener) where pg reads the socket. What it throws is an uncaught exception,
 * as with pg, but on the next tick: thrown at once it would break off the reading, and the answers behind it would be
 * lost.
 */
export function throwLater(run: () => void): void {
  try {
    run();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
