// Applications as tests make them: silent, and closed when their test is over.
import type { ModuleMetadata } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';

import { LogBook } from '../support/log-book.js';

export type Change = (builder: ReturnType<typeof Test.createTestingModule>) => unknown;

export class TestApplications {
  readonly #open: { close(): Promise<unknown> }[] = [];

  /** Has an application of any sort closed with the others. */
  add<A extends { close(): Promise<unknown> }>(application: A): A {
    this.#open.push(application);
    return application;
  }

  /** Makes an application of these modules, without starting it. */
  async compile(metadata: ModuleMetadata, change: Change = () => undefined): Promise<TestingModule> {
    const builder = Test.createTestingModule(metadata).setLogger(new LogBook());
    change(builder);
    return this.add(await builder.compile());
  }

  /** Makes and starts it. */
  async boot(metadata: ModuleMetadata, change?: Change): Promise<TestingModule> {
    const application = await this.compile(metadata, change);
    return application.init();
  }

  /** Closes all of them; those that were started must close without an error. */
  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((application) => application.close()));
  }

  /** The same where some have failed to start: Nest 11 rejects the close of these. */
  async closeSettled(): Promise<void> {
    await Promise.allSettled(this.#open.splice(0).map((application) => application.close()));
  }
}
