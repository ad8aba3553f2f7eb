// What an application's log says of its end, whatever the application logs with.
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { format } from 'node:util';

import { describe, expect, it } from '@jest/globals';
import { Logger, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Logger as PinoLogger, LoggerModule } from 'nestjs-pino';

import {
  ConnectionPoolManager,
  type PoolLogger,
  PoolManagerModule,
  type PoolManagerOptions,
  type ShutdownReport,
} from '../../lib/index.js';
import { startChild } from '../support/children.js';
import type { TestDatabase } from '../support/databases.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { withDatabase } from '../support/with-database.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const SERVICE = fileURLToPath(new URL('../module/programs/service.ts', import.meta.url));

let database: TestDatabase;
withDatabase((made) => (database = made));

/** Ends a service in which a handler hangs. @returns the lines of its log that are about the end of its pools. */
async function linesOfTheEnd(log: string): Promise<readonly string[]> {
  const child = startChild(process.execPath, ['--import', LOADER, SERVICE], {
    env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: database.url, LOG: log, USE_PROCESS_EXIT: '1' },
  });
  await using _ = { [Symbol.asyncDispose]: () => child.stop() };
  const [, url = ''] = await child.waitForLine(/listening on (\S+)/, { withinMs: 30_000 });
  const hung = fetch(`${url}/hung`).catch(() => undefined);
  await child.waitForLine(/hanging/);
  child.signal('SIGTERM');
  await child.exited;
  await hung;
  const lines = child.output().split('\n');
  const first = lines.findIndex((line) => line.includes('Pools closed'));
  const last = lines.findIndex((line) => line.includes('Cut the HTTP connections'));
  return lines.slice(first, last === -1 || last < first ? undefined : last).filter((line) => line !== '');
}

const TEXT =
  'Pools closed in \\d+ ms\\. Work in flight did not end by the drain deadline\\. ' +
  'orders: 1 lease cut \\(held by no tenant for \\d+ ms\\)';

describe('The report of a shutdown', () => {
  it("is one line of Nest's logger", async () => {
    const lines = await linesOfTheEnd('text');
    expect(lines).toEqual([expect.stringMatching(new RegExp(`WARN \\[PoolManager\\] ${TEXT}$`))]);
  });

  it("is one object of Nest's logger with JSON, with the report's values", async () => {
    const lines = await linesOfTheEnd('json');
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain('"msg"');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'warn',
      context: 'PoolManager',
      message: {
        message: expect.stringMatching(new RegExp(`^${TEXT}$`)),
        clean: false,
        durationMs: expect.any(Number),
        startedAt: expect.any(Number),
        pools: [{ poolId: 'orders', finished: 0, cut: 1, refused: 0, holders: [{ heldMs: expect.any(Number) }] }],
      },
    });
  });

  const lines: unknown[] = [];
  type Write = (message: unknown, context: string) => unknown;
  const loggerOf = (write: Write): LoggerService => {
    const keep: LoggerService['log'] = (message: unknown, ...more: unknown[]) => {
      lines.push(write(message, String(more.at(-1))));
    };
    return { log: keep, warn: keep, error: keep, debug: keep };
  };
  const closed = (poolId: string): unknown => expect.objectContaining({ poolId, finished: 0, cut: 0, holders: [] });
  const text = expect.stringMatching(/Pools closed in \d+ ms\. work: nothing was in use; files: nothing was in use$/);

  it.each<[string, Write, unknown]>([
    ['prints texts', (message, context) => `[${context}] ${String(message)}`, text],
    ['formats as the console does', (message) => format(message), text],
    ['takes texts only, and throws', (message) => (message as string).padEnd(2), text],
    [
      'copies the properties of what it is given, as that of Winston does',
      (message, context) => ({ context, ...(typeof message === 'object' ? message : {}) }),
      expect.objectContaining({
        context: 'PoolManager',
        message: text,
        clean: true,
        pools: [closed('work'), closed('files')],
      }),
    ],
  ])("is one call of an application's own logger that %s", async (_what, write, expected) => {
    lines.length = 0;
    const work = { type: 'external', driver: new FakeDriver() } as const;
    const options: PoolManagerOptions = { pools: { work, files: { ...work, driver: new FakeDriver() } } };
    const app = await NestFactory.createApplicationContext(
      { module: class Application {}, imports: [PoolManagerModule.forRoot(options)] },
      { logger: loggerOf(write) },
    );
    lines.length = 0;
    await app.close();
    Logger.overrideLogger(false);
    expect(lines).toEqual([expected]);
  });

  it('is one line of Pino, with its text where Pino has it and its values beside it', async () => {
    const written = new PassThrough({ encoding: 'utf8' });
    const work = { type: 'external', driver: new FakeDriver() } as const;
    const app = await NestFactory.createApplicationContext(
      {
        module: class Application {},
        imports: [LoggerModule.forRoot({ pinoHttp: [{}, written] }), PoolManagerModule.forRoot({ pools: { work } })],
      },
      { bufferLogs: true },
    );
    app.useLogger(app.get(PinoLogger));
    const lease = await app.get(ConnectionPoolManager).acquireConnection('work', { tenantId: 'acme' });
    const closed = app.close();
    lease.release();
    await closed;
    Logger.overrideLogger(false);
    const lines = String(written.read() ?? '')
      .split('\n')
      .filter((line) => line.includes('Pools closed'));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 30,
      context: 'PoolManager',
      msg: expect.stringMatching(/^Pools closed in \d+ ms\. work: /),
      clean: true,
      durationMs: expect.any(Number),
      startedAt: expect.any(Number),
      pools: [{ poolId: 'work', cut: 0, refused: 0, holders: [] }],
    });
  });

  it('names the first holders in its text, and all of them, with their stacks, in its values', async () => {
    const told: [message: string, fields: unknown][] = [];
    const tell = (message: string, fields?: object): void => void told.push([message, fields]);
    const logger: PoolLogger = { log: tell, warn: tell, error: tell, debug: tell };
    const manager = new ConnectionPoolManager(
      { pools: { work: { type: 'external', driver: new FakeDriver(), leakDetectionMs: 60_000 } } },
      { logger },
    );
    await manager.start();
    for (const tenantId of ['a', 'b', 'c', 'd', 'e']) await manager.acquireConnection('work', { tenantId });
    const { pools }: ShutdownReport = await manager.stop({ deadlineMs: 0 });
    const [message = '', fields] = told.at(-1) ?? [];
    expect(message).toMatch(/^.*held by a for \d+ ms, acquired at .*shutdown-report\.test\.ts.*, c for .*, 2 more\)$/);
    expect(fields).toMatchObject({ pools: [{ holders: pools[0]?.holders.map(({ stack }) => ({ stack })) }] });
    // As `console.warn(message, fields)` prints it.
    expect(format(message, fields)).not.toContain('\n');
  });
});
