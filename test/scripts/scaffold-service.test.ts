// What the matrix of scaffolds asks of an application, with programs that each do one thing wrong.
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { userEnvironment } from '../../scripts/commands.mjs';
import { refusesToStart, serve } from '../../scripts/scaffolds/service.mjs';

const backends = {
  env: { DATABASE_URL: 'postgres://127.0.0.1/orders' },
  orders: new Map([
    ['acme', ['anvil']],
    ['globex', ['hammock']],
  ]),
};

/** An application as it should be, with changes. */
const application = ({
  globex = '["hammock"]',
  withoutTenant = 400,
  health = 200,
  onSigterm = 'server.close()',
} = {}): string => `
const { createServer } = require('node:http');
const orders = { acme: '["anvil"]', globex: '${globex}' };
const server = createServer((request, response) => {
  const tenant = request.headers['x-tenant-id'];
  response.setHeader('connection', 'close');
  if (request.url === '/health') response.statusCode = ${health};
  else if (tenant === undefined) response.statusCode = ${withoutTenant};
  response.end(orders[tenant]);
}).listen(process.env.PORT);
process.on('SIGTERM', () => ${onSigterm});
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'scaffold-service-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function program(text: string): string {
  const path = join(folder, 'main.cjs');
  writeFileSync(path, text);
  return path;
}

const served = (text: string, hasHealthRoutes = true): Promise<unknown> =>
  serve(folder, program(text), backends, { env: userEnvironment(), hasHealthRoutes });

describe('an application of a scaffold', () => {
  it('passes when it serves each tenant its own orders, is healthy and ends by itself', async () => {
    await expect(served(application())).resolves.toMatchObject({ msToFirstAnswer: expect.any(Number) });
  });

  it("fails when a tenant gets another's orders", async () => {
    await expect(served(application({ globex: '["anvil"]' }))).rejects.toThrow(
      'A request of globex was answered ["anvil"], not ["hammock"]',
    );
  });

  it('fails when a request without a tenant is answered', async () => {
    await expect(served(application({ withoutTenant: 200 }))).rejects.toThrow(
      'A request without a tenant was answered 200, not 400',
    );
  });

  it('fails when it is not healthy, and when it has health routes that it should not have', async () => {
    await expect(served(application({ health: 503 }))).rejects.toThrow('/health was answered 503, not 200');
    await expect(served(application(), false)).rejects.toThrow('/health was answered 200, not 404');
  });

  it('fails when it ends with another exit code than 0', async () => {
    await expect(served(application({ onSigterm: 'process.exit(143)' }))).rejects.toThrow('exit code 143');
  });

  it('fails with what it printed when it ends before it has answered', async () => {
    await expect(served('console.error("no table orders"); process.exitCode = 1;')).rejects.toThrow(
      /It ended with exit code 1\.\nIt printed:\nno table orders/,
    );
  });
});

describe('an application without the package of a pool', () => {
  const started = (text: string): Promise<void> => refusesToStart(folder, program(text), backends, userEnvironment());

  it('passes when it says which package it lacks', async () => {
    const text = 'Pool "orders" needs the package "pg", which could not be loaded.';
    await expect(started(`throw new Error(${JSON.stringify(text)})`)).resolves.toBeUndefined();
  });

  it('fails when it ends without a word of the package', async () => {
    await expect(started('process.exitCode = 1;')).rejects.toThrow('Without its packages: exit code 1');
  });
});
