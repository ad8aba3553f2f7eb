/**
 * Claim: a request through our pool is faster by far than the same one through axios, or through Nest's HttpService;
 * without undici it is as fast. Round axios it costs hardly more than through undici itself.
 *
 * JSON of 100 bytes and of 100 kB, parsed, from an upstream that has its answers ready. Ours runs as in production: as
 * a tenant with limits, with deadlines, statistics and health checks. Each client has a process of its own, the
 * upstream too.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CERTIFICATE } from '../test/support/self-signed.js';
import { bench } from './harness/bench.js';
import { OwnProcess } from './harness/own-process.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import type { HttpFigure, HttpLoad, HttpPorts } from './subjects/http-process.js';

const SIZE = 50;
const ROUNDS = 21;
const ROUND_MS = 400;
/** What a leak would show in, and how many bytes a request it would have to be more than. */
const MANY_REQUESTS = 200_000;
const FLAT_BYTES = 8;
const AXIOS_REF = `${OURS} axiosRef`;
const GET = `${OURS} get()`;
const REQUEST = `${OURS} request()`;
const WITHOUT_UNDICI = `${OURS} axiosRef, without undici`;
const AXIOS = 'axios';
const HTTP_SERVICE = 'HttpService';
const UNDICI = 'undici';
/** The subjects by the names under which their processes know them. */
const SUBJECTS = {
  [AXIOS_REF]: 'axiosRef',
  [GET]: 'get',
  [REQUEST]: 'request',
  [WITHOUT_UNDICI]: 'axiosRef without undici',
  [AXIOS]: 'axios',
  [HTTP_SERVICE]: 'HttpService',
  fetch: 'fetch',
  [UNDICI]: 'undici',
  got: 'got',
  ky: 'ky',
};
const SCRIPT = new URL('./subjects/http-process.js', import.meta.url);

const LOADS = [
  { title: 'small JSON', protocol: 'http', path: '/small' },
  { title: '100 kB', protocol: 'http', path: '/large' },
  { title: 'small JSON over HTTPS', protocol: 'https', path: '/small' },
] as const;

const trusted = mkdtempSync(join(tmpdir(), 'bench-http-'));
try {
  // For every client in the same way, and before their processes start.
  process.env.NODE_EXTRA_CA_CERTS = join(trusted, 'certificate.pem');
  writeFileSync(process.env.NODE_EXTRA_CA_CERTS, CERTIFICATE);
  await bench('http', async (report) => {
    const upstream = new OwnProcess<object, HttpPorts>(SCRIPT, ['upstream']);
    const subjects = Object.entries(SUBJECTS).map(([name, subject]) => ({
      name,
      process: new OwnProcess<HttpLoad, HttpFigure>(SCRIPT, [subject, String(SIZE)]),
    }));
    try {
      const ports = await upstream.ask({});
      for (const { title: what, protocol, path } of LOADS) {
        const origin = `${protocol}://127.0.0.1:${ports[protocol]}`;
        for (const callers of [1, SIZE]) {
          const title = `${what}, ${callers === 1 ? '1 caller' : `${callers} callers`}`;
          const figure = await Rounds.runManifold<HttpFigure>(
            subjects.map(({ name, process }) => ({
              name,
              measure: () => process.ask({ origin, path, callers, durationMs: ROUND_MS }),
            })),
            ['throughput', 'p99', 'CPU'],
            ROUNDS,
          );
          const throughput = figure('throughput');
          report.addRounds(throughput, title, 'requests/s', 'higher');
          report.addRounds(figure('p99'), title, 'p99 ms', 'lower');
          report.addRounds(figure('CPU'), title, 'CPU µs/request', 'lower');
          if (callers > 1) {
            const least = path === '/small' ? 2.2 : 1.6;
            report.claimRatio(throughput, title, 'higher', [AXIOS], least, AXIOS_REF, 'throughput');
            report.claimRatio(throughput, title, 'higher', [HTTP_SERVICE], least, GET, 'throughput');
          }
          report.claimRatio(throughput, title, 'higher', [UNDICI], 0.7, REQUEST, 'throughput');
          report.claimRatio(throughput, title, 'higher', [AXIOS], 0.97, WITHOUT_UNDICI, 'throughput');
          report.claimRatio(figure('p99'), title, 'lower', [AXIOS], 1, AXIOS_REF, 'p99');
          report.claimRatio(figure('p99'), title, 'lower', [HTTP_SERVICE], 1, GET, 'p99');
          for (const peer of ['fetch', UNDICI]) report.addRatio(throughput, title, 'higher', AXIOS_REF, peer);
        }
      }
      const load = { origin: `http://127.0.0.1:${ports.http}`, path: '/small', callers: SIZE };
      for (const { name, process } of subjects) {
        if (!name.startsWith(OURS)) continue;
        const before = await process.ask({ ...load, calls: MANY_REQUESTS / 10 });
        const after = await process.ask({ ...load, calls: MANY_REQUESTS });
        const bytes = (after.heap - before.heap) / MANY_REQUESTS;
        report.claim(
          `what ${MANY_REQUESTS} requests leave in memory`,
          bytes,
          'lower',
          FLAT_BYTES,
          'bytes/request',
          name,
        );
      }
    } finally {
      for (const { process } of subjects) await process.end();
      await upstream.end();
    }
  });
} finally {
  rmSync(trusted, { recursive: true });
}
