/**
 * Requests of Node's client whose answer is over before they have been sent: which they are, and how they end.
 */
import { afterArrivals } from './idle-socket-check.js';

/** What of a request of Node's client tells whether it has been sent. */
export interface SendingRequest {
  /** Whether all of it has left for the server, and Node has said so. */
  readonly writableFinished: boolean;
  destroy(): void;
}

/**
 * To be called at the end of an answer. Destroys a request that has not been sent completely, because its socket would
 * belong to no request and to no agent, and would stay open for as long as the server reads no further.
 *
 * TLS reports a write in the check phase of the event loop (`TLSWrap::EncOut` of Node), and a fast answer to it arrives
 * in the phase before. So a request that counts as unfinished here may have left already, and the decision waits for
 * the report. Node's agent waits for it, too, before it takes the socket back.
 */
export function destroyUnsent(request: SendingRequest, destroyed: () => void): void {
  if (request.writableFinished) return;
  afterArrivals(() => {
    if (request.writableFinished) return;
    request.destroy();
    destroyed();
  });
}
