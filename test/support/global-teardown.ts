// Jest's global teardown: ends the program that global-setup.ts has started, and waits until its servers are gone.
import { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export default async function globalTeardown(): Promise<void> {
  const program: unknown = Reflect.get(globalThis, Symbol.for('nestjs-pool-manager.shared-servers'));
  if (!(program instanceof ChildProcess) || program.exitCode !== null || program.signalCode !== null) return;
  const exited = once(program, 'exit');
  program.stdin?.end();
  const [code] = (await exited) as [number | null];
  if (code !== 0) throw new Error('The shared servers could not be ended as they should: see the message above.');
}
