/**
 * A registry of packages on loopback that has this project as it would be published, and sends askers to the real one
 * for everything else: `nest add` takes a package by its name only.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { npm } from '../commands.mjs';
import { listening, stopped } from '../shared-servers.mjs';

/**
 * @param {string} tarball
 * @param {Record<string, unknown>} manifest the project's package.json
 * @returns {Promise<{ readonly url: string, stop(): Promise<void> }>}
 */
export async function startRegistry(tarball, manifest) {
  const real = (await npm(process.cwd(), ['config', 'get', 'registry'])).trim().replace(/\/$/, '');
  const content = readFileSync(tarball);
  const { name, version } = manifest;
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    const own = `http://${request.headers.host ?? ''}/${String(name)}`;
    if (path === `/${String(name)}`) {
      const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`;
      const versions = { [String(version)]: { ...manifest, dist: { tarball: `${own}.tgz`, integrity } } };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions }));
    } else if (path === `/${String(name)}.tgz`) response.end(content);
    else response.writeHead(307, { location: `${real}${path}` }).end();
  });
  const { port } = await listening(server);
  return {
    url: `http://127.0.0.1:${String(port)}`,
    stop: () => stopped(server),
  };
}
