/** OpenTelemetry's instrumentations for pg, ioredis, undici and Node's http; `options` are those of the one for pg. */
import { register } from 'node:module';

export async function start({ options }) {
  // ES modules that import pg get the instrumented one only through this hook.
  register('@opentelemetry/instrumentation/hook.mjs', import.meta.url);
  const { SpanStatusCode, trace } = await import('@opentelemetry/api');
  const { NodeTracerProvider } = await import('@opentelemetry/sdk-trace-node');
  const { registerInstrumentations } = await import('@opentelemetry/instrumentation');
  const { PgInstrumentation } = await import('@opentelemetry/instrumentation-pg');
  const { IORedisInstrumentation } = await import('@opentelemetry/instrumentation-ioredis');
  const { UndiciInstrumentation } = await import('@opentelemetry/instrumentation-undici');
  const { HttpInstrumentation } = await import('@opentelemetry/instrumentation-http');

  const started = [];
  const ended = new Set();
  const processor = {
    onStart: (span) => void started.push(span),
    onEnd: (span) => void ended.add(span.spanContext().spanId),
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  new NodeTracerProvider({ spanProcessors: [processor] }).register();
  registerInstrumentations({
    instrumentations: [
      new PgInstrumentation(options),
      new IORedisInstrumentation(),
      new UndiciInstrumentation(),
      new HttpInstrumentation(),
    ],
  });
  const tracer = trace.getTracer('apm-matrix');

  return {
    covers: ['pg', 'redis', 'http'],
    span: (name, fn) =>
      tracer.startActiveSpan(name, { attributes: { 'matrix.call': name } }, async (span) => {
        try {
          return await fn();
        } finally {
          span.end();
        }
      }),
    run: (fn) => fn(),
    spans: () =>
      Promise.resolve(
        started.map((span) => {
          const { spanId } = span.spanContext();
          return {
            id: spanId,
            parent: span.parentSpanContext?.spanId,
            ...describe(span),
            failed: span.status.code === SpanStatusCode.ERROR,
            ended: ended.has(spanId),
            values: span.attributes['db.postgresql.values'],
          };
        }),
      ),
    problemOf({ kind, text, span, values }) {
      if (span === undefined) return 'there is no span that could be named';
      if (kind === 'pg') {
        const { addSqlCommenterCommentToQueries, enableTraceContextPropagation, enhancedDatabaseReporting } = options;
        if (enhancedDatabaseReporting && JSON.stringify(span.values) !== JSON.stringify(values)) {
          return `the span has the values ${JSON.stringify(span.values)} instead of ${JSON.stringify(values)}`;
        }
        if (!addSqlCommenterCommentToQueries && !enableTraceContextPropagation) return undefined;
      }
      return text.includes(span.id) ? undefined : `${text} does not name its span ${span.id}`;
    },
    nest: { options: {}, imports: [] },
  };

  function describe({ name, attributes, instrumentationScope, kind }) {
    if (attributes['matrix.call'] !== undefined) return { kind: 'call', text: attributes['matrix.call'] };
    const scope = instrumentationScope.name;
    const statement = attributes['db.query.text'] ?? attributes['db.statement'];
    if (scope.endsWith('-pg'))
      return name.endsWith('.connect') ? { kind: 'connect', text: name } : { kind: 'pg', text: statement ?? name };
    if (scope.endsWith('-ioredis')) return { kind: name === 'connect' ? 'connect' : 'redis', text: name };
    const isClient = kind === 2;
    if (isClient && (scope.endsWith('-undici') || scope.endsWith('-http'))) {
      const url = new URL(attributes['url.full'] ?? attributes['http.url']);
      const method = attributes['http.request.method'] ?? attributes['http.method'];
      return { kind: 'http', text: `${method} ${url.pathname}` };
    }
    return { kind: 'other', text: `${scope} ${name}` };
  }
}
