/**
 * A look at what a server has sent on a connection that was idle, before the connection is used again: its end, or
 * bytes that belong to no request and would pass for the answer to the next one.
 */

/**
 * Calls `callback`, in the context of this call, once the event loop has delivered all that has arrived until now. Not
 * after the first immediate: that one runs in the present turn of the loop, which has looked at the sockets already.
 */
export function afterArrivals(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}
