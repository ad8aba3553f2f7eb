// A database of its own for the tests of one file.
import { afterAll, beforeAll } from '@jest/globals';

import { createDatabase, type TestDatabase } from './databases.js';

/**
 * Creates a database before the first test, and drops it after the last.
 *
 * @example
 * let database: TestDatabase;
 * withDatabase((made) => (database = made));
 */
export function withDatabase(made: (database: TestDatabase) => void): void {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    made(database);
  });
  afterAll(() => database.drop());
}
