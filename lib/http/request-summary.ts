/**
 * What a caller finds as `response.request` and `error.request`: enough to see where a chain of redirects ended.
 *
 * Not the request of Node's client itself: that leads to the slot's agent and socket, and through the socket to the
 * request of the next holder of the slot.
 */
export class RequestSummary {
  readonly method: string;
  readonly protocol: string;
  readonly host: string;
  /** Path and query. */
  readonly path: string;
  /** Where the answer came from; `responseUrl` is missing where redirects were not to be followed, as in axios. */
  readonly res: { readonly responseUrl?: string };

  constructor(parts: {
    readonly method: string;
    readonly protocol: string;
    readonly host: string;
    readonly path: string;
    readonly responseUrl: string | undefined;
  }) {
    const { method, protocol, host, path, responseUrl } = parts;
    this.method = method;
    this.protocol = protocol;
    this.host = host;
    this.path = path;
    this.res = responseUrl === undefined ? {} : { responseUrl };
  }

  /** Of a request of Node's client, or of follow-redirects; `undefined` where there is none. */
  static of(request: unknown): RequestSummary | undefined {
    if (typeof request !== 'object' || request === null) return undefined;
    // follow-redirects keeps the one that is under way behind its own.
    const current = field(request, '_currentRequest') ?? request;
    const responseUrl = field(field(current, 'res'), 'responseUrl') ?? field(request, '_currentUrl');
    return new RequestSummary({
      method: text(field(current, 'method')) ?? '',
      protocol: text(field(current, 'protocol')) ?? '',
      host: text(field(current, 'host')) ?? '',
      path: text(field(current, 'path')) ?? '',
      responseUrl: text(responseUrl),
    });
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
