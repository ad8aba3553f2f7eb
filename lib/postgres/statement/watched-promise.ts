/**
 * A promise that knows whether anything waits for it.
 *
 * What attaches a reaction reads the promise's `constructor` first: `then` (and with it `catch` and `finally`) to find
 * the class of its own result, `await`, `Promise.resolve` and `Promise.all` to see whether it is a promise already. The
 * getter here notes that, and answers with `Promise`: results, order and stacks are those of an ordinary promise. It is
 * on a class of its own because V8 gives up its fast paths for all promises of the process as soon as a single one has
 * a `constructor` or a `then` of its own.
 */
export class WatchedPromise<T> extends Promise<T> {
  #isAwaited = false;

  static {
    const getConstructor = function (this: WatchedPromise<unknown>): PromiseConstructor {
      // The prototype itself has no private members.
      if (#isAwaited in this) this.#isAwaited = true;
      return Promise;
    };
    Reflect.defineProperty(this.prototype, 'constructor', { configurable: true, get: getConstructor });
  }

  /** Something has waited for it since {@link watch}. */
  get isAwaited(): boolean {
    return this.#isAwaited;
  }

  /** What waits for it by now does not count. */
  watch(): void {
    this.#isAwaited = false;
  }
}
