/**
 * The frame of one benchmark: it runs, hands its rows to the runner, and leaves nothing behind.
 */
import { Report } from './report.js';

export async function bench(name: string, run: (report: Report) => Promise<void>): Promise<void> {
  const report = new Report(name);
  await run(report);
  await new Promise<void>((resolve, reject) => {
    if (process.send === undefined) resolve();
    else process.send(report.rows, (error: Error | null) => (error === null ? resolve() : reject(error)));
  });
  if (process.connected) process.disconnect();
}
