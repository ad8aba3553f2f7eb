/**
 * Begins the transaction of its lease in a round trip of its own, unless a statement ahead of it has taken that along.
 */
import { LeaseStatement, type StatementClient } from './lease-statement.js';

export class OpeningStatement extends LeaseStatement {
  /** Its text is empty: all there is to it goes ahead of it, if it is owed. */
  constructor(client: StatementClient) {
    super(client, '', undefined, undefined, 'begin');
  }
}
