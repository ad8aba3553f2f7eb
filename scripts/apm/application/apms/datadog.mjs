/**
 * dd-trace, started by `--import dd-trace/initialize.mjs`; how statements name their spans is set by
 * DD_DBM_PROPAGATION_MODE.
 */
import { subscribe } from 'node:diagnostics_channel';

export async function start({ options }) {
  const { default: tracer } = await import('dd-trace');
  const started = [];
  const ended = new Set();
  // dd-trace's own channels for its own products: they name each span, whether or not its trace is ever complete.
  subscribe('dd-trace:span:start', ({ span }) => void started.push(span));
  subscribe('dd-trace:span:finish', (span) => void ended.add(span));

  return {
    covers: ['pg', 'redis', 'http'],
    span: (name, fn) => tracer.trace('matrix.call', { tags: { 'matrix.call': name } }, async () => fn()),
    run: (fn) => fn(),
    spans: () =>
      Promise.resolve(
        started.map((span) => {
          const context = span.context();
          const tags = context.getTags?.() ?? context._tags;
          return {
            id: context.toSpanId(true),
            parent: context._parentId?.toString(16).padStart(16, '0'),
            ...describe(context._name, tags),
            failed: tags.error !== undefined || tags['error.message'] !== undefined,
            ended: ended.has(span),
          };
        }),
      ),
    problemOf({ kind, text, span }) {
      const mode = options.dbm;
      if (kind === 'pg' && mode === 'disabled') return undefined;
      if (kind === 'pg' && mode === 'service') return text.includes('dddbs=') ? undefined : `${text} names no service`;
      const named = span !== undefined && text.includes(span.id);
      return named ? undefined : `${text} does not name its span ${span?.id ?? '(there is none)'}`;
    },
    nest: { options: {}, imports: [] },
  };

  function describe(name, tags) {
    if (name === 'matrix.call') return { kind: 'call', text: tags['matrix.call'] };
    if (name === 'pg.query') return { kind: 'pg', text: tags['resource.name'] ?? name };
    if (name.startsWith('pg.')) return { kind: 'connect', text: name };
    if (name === 'redis.command') return { kind: 'redis', text: tags['resource.name'] };
    if (name === 'http.request' || name === 'undici.request') {
      return { kind: 'http', text: `${tags['http.method']} ${new URL(tags['http.url']).pathname}` };
    }
    return { kind: 'other', text: name };
  }
}
