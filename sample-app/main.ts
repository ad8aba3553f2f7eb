/**
 * The service's own process, as it would run in production: addresses come from the environment, signals end it.
 */
import 'reflect-metadata';
import './pools.js';

import { NestFactory } from '@nestjs/core';

import { AppModule } from './app.module.js';

try {
  // With abortOnError Nest would end the process before the error could be shown in one line.
  const app = await NestFactory.create(AppModule, { abortOnError: false, logger: ['log', 'warn', 'error', 'fatal'] });
  // Without useProcessExit Nest sends itself the signal again, and the exit code would be 143 instead of 0.
  app.enableShutdownHooks(['SIGINT', 'SIGTERM'], { useProcessExit: true });
  await app.listen(Number(process.env.PORT ?? 3_000), '127.0.0.1');
  if (process.send !== undefined) {
    process.send({ url: await app.getUrl() });
    // The parent, which would tell this process to end, is gone.
    process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  }
} catch (error) {
  console.error(`The orders service could not start: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
