// The application that a test starts, closed when the test has ended, however it ended.
import { afterEach } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';

import { LogBook } from '../../support/log-book.js';

export interface ApplicationOfTest {
  /** Set by the test; closed after it. */
  application: INestApplication | undefined;
  /** What the present test logs. */
  logger: LogBook;
}

export function applicationOfTest(): ApplicationOfTest {
  const present: ApplicationOfTest = { application: undefined, logger: new LogBook() };
  afterEach(async () => {
    await present.application?.close();
    present.application = undefined;
    present.logger = new LogBook();
  });
  return present;
}
