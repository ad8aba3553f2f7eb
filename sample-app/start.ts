/**
 * `npm start`: the service and everything it needs, until Ctrl-C.
 */
import { startLocalStack } from './local/local-stack.js';

const interrupted = new AbortController();
const interruption = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interrupted.abort();
      resolve();
    });
  }
});

try {
  console.log('Starting PostgreSQL, Redis, the billing service and the orders service…');
  const stack = await startLocalStack({ signal: interrupted.signal });
  const { url } = stack;
  console.log(`
The orders service listens on ${url}${stack.otherPort ? ' (the port asked for was taken)' : ''}
  ${url}/orders        list and create orders
  ${url}/health        also /health/live and /health/ready
  ${url}/metrics       for Prometheus; observability/compose.yml starts it, and Grafana
  ${url}/stats         the pools' numbers
Billing listens on ${stack.billingUrl}

Try:
  curl -s -H 'x-tenant-id: acme' ${url}/orders
  curl -s -H 'x-tenant-id: globex' -H 'content-type: application/json' -d '{"item":"hammock","quantity":2}' ${url}/orders
  curl -s ${url}/health

Ctrl-C stops everything.
`);
  const ended = await Promise.race([interruption, stack.ended]);
  const exitCode = await stack.stop();
  if (ended !== undefined) console.error(`The orders service ended by itself with exit code ${exitCode}.`);
  process.exitCode = ended === undefined ? exitCode : 1;
} catch (error) {
  if (!interrupted.signal.aborted) {
    console.error(`The start failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
