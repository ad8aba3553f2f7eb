// Jest's global set-up: starts the program that keeps the servers which all test files share (shared-servers.ts). That
// program starts a server only when the first test file asks for it, so that a run without servers doesn't wait for
// any.
//
// Jest loads this file outside its own module system: it imports nothing of ours.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export default async function globalSetup({ rootDir }: { readonly rootDir: string }): Promise<void> {
  const program = spawn(
    process.execPath,
    ['--import', './test/support/typescript/register.mjs', 'test/support/shared-servers.ts'],
    {
      cwd: rootDir,
      // A session of its own: Ctrl-C ends Jest, and with Jest its standard input. Then it tidies up, undisturbed.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    },
  );
  const failed = once(program, 'exit').then(() => {
    throw new Error('The program that keeps the shared servers has ended: see its message above.');
  });
  const started = once(createInterface({ input: program.stdout }), 'line');
  const [url] = (await Promise.race([started, failed])) as [string];
  // It may end, by request, at any time from now on.
  failed.catch(() => {});
  // Inherited by the processes that run the test files.
  process.env.TEST_SERVERS_URL = url;
  // Found there by the global teardown, which Jest loads by itself.
  Reflect.set(globalThis, Symbol.for('nestjs-pool-manager.shared-servers'), program);
}
