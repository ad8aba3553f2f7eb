/**
 * What is wrong with an address that an HTTP pool is configured with. No message carries any part of it: what looks
 * like a host may be the end of a password.
 */

/** Why `text` is no address to send requests to; `undefined`: it is one. */
export function urlProblem(text: string): string | undefined {
  if (!/^https?:\/\/[^/?#\\]/i.test(text) || !URL.canParse(text)) return 'must be an http:// or https:// URL';
  // The parser of URLs leaves out tabs and line breaks, and takes a backslash for a slash.
  if (/[\s\\\p{Cc}]/u.test(text)) return 'must not contain spaces, control characters or backslashes';
  const { hostname, port } = new URL(text);
  // A slash, ? or # in a password ends the host there: what comes before it would be a host, and what follows a path.
  if (/^https?:\/\/[^/?#]*[/?#].*@/i.test(text))
    return 'must not have an @ after its host (write %40, and %2F, %3F, %23 for / ? # in credentials)';
  if (text.includes('#')) return 'must not have a fragment, which is never sent';
  if (hostname.includes(',')) return 'must name one host';
  if (port === '0') return 'must not have the port 0';
  return undefined;
}

/** Why an axios `proxy` option can't be used; `undefined`: it can. */
export function proxyProblem(proxy: unknown): string | undefined {
  if (proxy === undefined || proxy === null || proxy === false) return undefined;
  if (typeof proxy !== 'object') return 'must be false, or an object with host and port (axios takes no URL here)';
  const { host, hostname = host, port, protocol }: ProxyFields = proxy;
  if (typeof hostname !== 'string' || !/^(?:[^\s/?#@:\\,[\]]+|\[?[0-9a-f:.]+\]?)$/i.test(hostname))
    return 'must have as its host a name or an address, without protocol, port or credentials';
  if (
    port !== undefined &&
    port !== '' &&
    !(Number(port) >= 1 && Number(port) <= 65_535 && Number.isInteger(Number(port)))
  )
    return 'must have a port between 1 and 65535';
  if (protocol !== undefined && !(typeof protocol === 'string' && /^https?:?$/i.test(protocol)))
    return 'must have the protocol http or https';
  return undefined;
}

interface ProxyFields {
  readonly host?: unknown;
  readonly hostname?: unknown;
  readonly port?: unknown;
  readonly protocol?: unknown;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy variable that axios could not use for requests to `baseURL` or, without one, to anywhere; and why. */
export function environmentProxyProblem(
  environment: Environment,
  baseURL: string | undefined,
): { readonly variable: string; readonly problem: string } | undefined {
  if (valueOf(environment, 'no_proxy').value === '*') return undefined;
  const protocols = ['http', 'https'].filter((protocol) => baseURL?.toLowerCase().startsWith(`${protocol}://`) ?? true);
  for (const protocol of protocols) {
    const own = valueOf(environment, `${protocol}_proxy`);
    const { variable, value } = own.value === '' ? valueOf(environment, 'all_proxy') : own;
    const url = value.includes('://') ? value : `${protocol}://${value}`;
    // What is no HTTP proxy (SOCKS) is for axios to refuse, or for NO_PROXY to exempt.
    if (value === '' || (URL.canParse(url) && !/^https?:/i.test(url))) continue;
    const problem = urlProblem(url);
    if (problem !== undefined) return { variable, problem };
  }
  return undefined;
}

function valueOf(environment: Environment, name: string): { readonly variable: string; readonly value: string } {
  const lower = environment[name] ?? '';
  const variable = lower === '' ? name.toUpperCase() : name;
  return { variable, value: environment[variable] ?? '' };
}
