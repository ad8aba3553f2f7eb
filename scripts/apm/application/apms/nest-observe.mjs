/** Nest's own APM. It traces requests, so the whole program runs in one. */
import 'reflect-metadata';
import { once } from 'node:events';
import { request } from 'node:http';
import { onClass, onMethod } from '../decorate.mjs';

export async function start({ upstream }) {
  const { Controller, Module, Post } = await import('@nestjs/common');
  const { NestFactory } = await import('@nestjs/core');
  const { createObserveModule, TracerService } = await import('@nestjs/observe');
  const { ObserveModule, ObserveInstrument } = createObserveModule();
  const observe = (options) =>
    ObserveModule.forRoot({
      appKey: 'key',
      appSecret: 'secret',
      serviceId: 'apm-matrix',
      endpoint: `${upstream}/agent`,
      ...options,
    });

  const spans = new Map();
  let tracer;
  let program;

  class RunController {
    async run() {
      await program();
      return {};
    }
  }
  onMethod(RunController, 'run', Post('run'));
  onClass(RunController, Controller());
  class RunModule {}
  onClass(RunModule, Module({ imports: [observe({})], controllers: [RunController] }));

  return {
    // Of drivers it patches pg, mysql2 and mongodb, and it subscribes to outgoing HTTP: it records nothing of ioredis.
    // The commands run within its traces all the same, and their answers are compared like all others.
    covers: ['pg', 'http'],
    span: (name, fn) =>
      tracer.createSpan(name, (span) => {
        spans.set(span.id, { kind: 'call', text: name, ended: true });
        return fn();
      }),
    async run(fn) {
      program = fn;
      const app = await NestFactory.create(RunModule, {
        logger: ['error'],
        abortOnError: false,
        instrument: ObserveInstrument,
      });
      tracer = app.get(TracerService, { strict: false });
      watch(tracer.operationTraceRegistry);
      await app.listen(0, '127.0.0.1');
      const outgoing = request(`${await app.getUrl()}/run`, { method: 'POST', agent: false });
      outgoing.end();
      const [response] = await once(outgoing, 'response');
      response.resume();
      await once(response, 'end');
      if (response.statusCode !== 201)
        throw new Error(`The request that runs the program answered ${response.statusCode}.`);
      await app.close();
    },
    spans: () =>
      Promise.resolve([...spans].map(([id, { node, ...span }]) => ({ id, ...span, ...(node && describe(node)) }))),
    problemOf: () => undefined,
    // The program's own application has subscribed to outgoing requests already, for the whole process.
    nest: { options: { instrument: ObserveInstrument }, imports: [observe({ outgoing: false })] },
  };

  /** Every span goes through these two methods of the registry, whether or not its trace is ever complete. */
  function watch(registry) {
    const { internalStartTraceStep, internalEndTraceStep } = registry;
    registry.internalStartTraceStep = function (traceId, className, methodKey, callerId) {
      const id = internalStartTraceStep.call(this, traceId, className, methodKey, callerId);
      if (id !== undefined) {
        spans.set(id, { parent: callerId, node: registry.getActiveSpan(traceId, id), ended: false, failed: false });
      }
      return id;
    };
    registry.internalEndTraceStep = function (traceId, spanId, className, methodKey, id, error) {
      const span = spans.get(id);
      if (span !== undefined) Object.assign(span, { ended: true, failed: Boolean(error) });
      return internalEndTraceStep.call(this, traceId, spanId, className, methodKey, id, error);
    };
  }

  function describe({ className, methodKey, tags = {} }) {
    if (className === 'pg') return { kind: 'pg', text: tags['db.statement'] };
    if (className === 'http')
      return { kind: 'http', text: `${tags['http.method']} ${new URL(tags['http.url']).pathname}` };
    return { kind: 'other', text: `${className}#${methodKey}` };
  }
}
