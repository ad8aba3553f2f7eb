/** Sentry's SDK for Node, with every integration that it enables by itself. */
export async function start({ upstream }) {
  const Sentry = await import('@sentry/node');
  const { host } = new URL(upstream);
  const client = Sentry.init({ dsn: `http://key@${host}/1`, tracesSampleRate: 1, sendClientReports: false });
  const started = [];
  const ended = new Set();
  // Spans below no sampled one are started for form's sake, and never sent.
  client.on('spanStart', (span) => void (span.isRecording() && started.push(span)));
  client.on('spanEnd', (span) => void ended.add(span));

  return {
    covers: ['pg', 'redis', 'http'],
    span: (name, fn) => Sentry.startSpan({ name, op: 'matrix.call' }, fn),
    run: (fn) => fn(),
    spans: () =>
      Promise.resolve(
        started.map((span) => {
          const { span_id, parent_span_id, name, attributes, status } = Sentry.spanToJSON(span);
          return {
            id: span_id,
            parent: parent_span_id,
            ...describe(name, attributes),
            failed: status !== undefined && status !== 'ok',
            ended: ended.has(span),
          };
        }),
      ),
    problemOf({ kind, text, span }) {
      if (kind === 'pg') return undefined;
      const named = span !== undefined && text.includes(span.id);
      return named ? undefined : `${text} does not name its span ${span?.id ?? '(there is none)'}`;
    },
    nest: { options: {}, imports: [] },
  };

  function describe(name, attributes) {
    const op = attributes['sentry.op'];
    if (op === 'matrix.call') return { kind: 'call', text: name };
    const system = attributes['db.system.name'] ?? attributes['db.system'];
    const statement = attributes['db.query.text'] ?? attributes['db.statement'];
    if (system === 'postgresql')
      return name.endsWith('.connect') ? { kind: 'connect', text: name } : { kind: 'pg', text: statement ?? name };
    if (system === 'redis') {
      return statement === undefined
        ? { kind: 'connect', text: name }
        : { kind: 'redis', text: attributes['db.operation.name'] };
    }
    if (op === 'http.client') {
      const url = new URL(attributes['url.full'] ?? attributes['http.url']);
      return {
        kind: 'http',
        text: `${attributes['http.request.method'] ?? attributes['http.method']} ${url.pathname}`,
      };
    }
    return { kind: 'other', text: `${op} ${name}` };
  }
}
