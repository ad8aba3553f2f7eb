/**
 * Every error of the package: the engine's, and those of the layers above it.
 */
import { PoolError, type PoolErrorDetails } from './engine/errors.js';
import { redact } from './engine/redact.js';
import { closestName } from './options/closest-name.js';

export * from './engine/errors.js';

/**
 * No pool of that name, or none yet; the message lists those that exist, and suggests the one that may have been meant.
 */
export class PoolNotFoundError extends PoolError {
  readonly code = 'POOL_NOT_FOUND';

  /** @internal */
  constructor(poolId: string, known: readonly string[], why: 'unknown' | 'unbuilt' = 'unknown') {
    super(why === 'unknown' ? unknownPool(poolId, known) : unbuiltPool(poolId), { poolId });
  }
}

function unknownPool(poolId: string, known: readonly string[]): string {
  const meant = closestName(poolId, known);
  const suggestion = meant === undefined ? '' : ` Did you mean "${meant}"?`;
  const names =
    known.length === 0 ? 'There are no pools yet' : `Known pools: ${known.map((id) => `"${id}"`).join(', ')}`;
  return `There is no pool "${poolId}".${suggestion} ${names}. Declare it in PoolManagerModule or create it with create…Pool().`;
}

function unbuiltPool(poolId: string): string {
  return `Pool "${poolId}" is declared, but not there yet. Await the manager's start(), or the create…Pool() that makes it, before asking for it.`;
}

/** A pool of that name exists already. */
export class PoolExistsError extends PoolError {
  readonly code = 'POOL_EXISTS';

  /** @internal */
  constructor(poolId: string) {
    super(`There is a pool "${poolId}" already. Close it first (closePool("${poolId}")), or choose another id.`, {
      poolId,
    });
  }
}

/** What `shared()` gave out was used after its `end()`. The pool itself is open. */
export class PoolViewEndedError extends PoolError {
  readonly code = 'POOL_VIEW_ENDED';

  /** @internal */
  constructor(poolId: string) {
    super(
      `A shared view of pool "${poolId}" was used after its end() or destroy(). The pool itself is open: ` +
        `call that, or hand out another view with shared().`,
      { poolId },
    );
  }
}

/** The whole manager has been stopped, or is stopping. */
export class ManagerStoppedError extends PoolError {
  readonly code = 'POOL_MANAGER_STOPPED';

  /** @internal */
  constructor() {
    super('This ConnectionPoolManager has been stopped, and opens nothing any more. Make a new one to start again.');
  }
}

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** Path of the key, such as `pools.orders.maxSize`. */
  readonly key: string;
  /** The rule that was broken, with what was received; never a secret. */
  readonly rule: string;
}

/** Everything that is wrong with a configuration, in one error. */
export class PoolConfigError extends PoolError {
  readonly code = 'POOL_CONFIG';
  /** Each problem that was found, at least one. */
  readonly problems: readonly ConfigProblem[];

  /** @internal */
  constructor(problems: readonly ConfigProblem[], details: PoolErrorDetails = {}) {
    // Each part by itself: "password: must be a text" as a whole looks like a password and its value.
    const redacted = problems.map(({ key, rule }) => ({ key: redact(key), rule: redact(rule) }));
    const lines = redacted.map(({ key, rule }) => `  - ${key}: ${rule}`).join('\n');
    super(`The pool configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${lines}`, {
      ...details,
      isRedacted: true,
    });
    this.problems = redacted;
  }
}

/** The pool only works for a tenant, and there is none. */
export class TenantRequiredError extends PoolError {
  readonly code = 'POOL_TENANT_REQUIRED';

  /** @internal */
  constructor(poolId?: string) {
    const where = poolId === undefined ? 'This operation' : `Pool "${poolId}"`;
    super(
      `${where} needs a tenant, and none is set. Call it inside TenantContext.run() or a guarded request, ` +
        `name one with forTenant(id), or say explicitly that there is none with unscoped().`,
      { poolId },
    );
  }
}

/** A tenant id that is malformed, or isn't the one that the context allows. */
export class TenantInvalidError extends PoolError {
  readonly code = 'POOL_TENANT_INVALID';

  /**
   * For resolvers of one's own.
   *
   * @param reason what is wrong with what was meant as a tenant, without a full stop.
   */
  constructor(reason: string, options?: { cause?: unknown });
  /** @internal */
  constructor(reason: string, details?: PoolErrorDetails);
  constructor(reason: string, details: PoolErrorDetails = {}) {
    super(`${reason}. A tenant id has 1 to 128 printable characters.`, details);
  }
}

/** A command that must not run on a connection that others share. */
export class CommandRefusedError extends PoolError {
  readonly code = 'POOL_COMMAND_REFUSED';

  /** @internal */
  constructor(command: string, instead: string, details: PoolErrorDetails = {}) {
    super(
      `${command} was refused: it would change or stall the connection for everyone who shares it. ${instead}`,
      details,
    );
  }
}

/**
 * A text of several statements, one of which would leave those behind it without their tenant or transaction. None was
 * sent.
 */
export class ScriptRefusedError extends PoolError {
  readonly code = 'POOL_SCRIPT_REFUSED';

  /** @internal */
  constructor(poolId: string, statement: string, details: PoolErrorDetails = {}) {
    super(
      `Pool "${poolId}" refused a text of several statements: behind "${statement.slice(0, 40)}" the rest would run outside of ` +
        `the tenant's binding or of the transaction. Send the statements one by one.`,
      { ...details, poolId },
    );
  }
}

/** The database user could see rows of every tenant in spite of the policies. */
export class UnsafeRoleError extends PoolError {
  readonly code = 'POOL_UNSAFE_ROLE';
  /** SQL that mends it. */
  readonly fix: string;

  /** @internal */
  constructor(poolId: string, reason: string, fix: string) {
    super(
      `Pool "${poolId}" can't isolate tenants by row security: ${reason}. Mend it with:\n${fix}\nor set unsafeRole: 'warn' in development.`,
      {
        poolId,
      },
    );
    this.fix = fix;
  }
}

/** The package behind this kind of pool isn't installed. */
export class MissingDriverError extends PoolError {
  readonly code = 'POOL_MISSING_DRIVER';
  /** The name of the package, as npm has it. */
  readonly packageName: string;

  /** @internal */
  constructor(poolId: string, packageName: string, cause?: unknown) {
    super(
      `Pool "${poolId}" needs the package "${packageName}", which could not be loaded. Install it: npm install ${packageName}`,
      {
        poolId,
        cause,
      },
    );
    this.packageName = packageName;
  }
}

/** A one-shot statement left a transaction open; it has been rolled back. */
export class TransactionLeftOpenError extends PoolError {
  readonly code = 'POOL_TRANSACTION_LEFT_OPEN';

  /** @internal */
  constructor(poolId: string, details: PoolErrorDetails = {}) {
    super(
      `A one-shot query on pool "${poolId}" left a transaction open; it was rolled back. ` +
        `Use transaction(), or connect() a client for BEGIN … COMMIT.`,
      { ...details, poolId },
    );
  }
}

/**
 * A statement was sent on a transaction that is over: it would have run outside of it. It was not sent to the server.
 */
export class TransactionEndedError extends PoolError {
  readonly code = 'POOL_TRANSACTION_ENDED';

  /** @internal @param endedBy what ended it: a statement such as COMMIT, or the return of its function. */
  constructor(poolId: string, endedBy: string, details: PoolErrorDetails = {}) {
    super(
      `A transaction on pool "${poolId}" has been ended by ${endedBy}, and nothing more runs in it. ` +
        `Await every statement inside the function given to transaction(), and leave COMMIT and ROLLBACK to transaction().`,
      { ...details, poolId },
    );
  }
}

/** The connection that carried an operation died before the answer came. The operation was not repeated. */
export class ConnectionLostError extends PoolError {
  readonly code = 'POOL_CONNECTION_LOST';
  /** Whether the backend may have carried it out: false when it was never sent. */
  readonly sent: boolean;

  /** @internal */
  constructor(poolId: string, operation: string, sent: boolean, details: PoolErrorDetails = {}) {
    super(
      sent
        ? `The connection of pool "${poolId}" was lost before ${operation} was answered: whether it was carried out is unknown, ` +
            `and it was not sent again. Repeat it if that does no harm.`
        : `The connection of pool "${poolId}" was lost before ${operation} was sent: it was not carried out. Repeat it.`,
      { ...details, poolId },
    );
    this.sent = sent;
  }
}

/** The pool has as many connections outside its slots as it may. */
export class DedicatedLimitError extends PoolError {
  readonly code = 'POOL_DEDICATED_LIMIT';
  /** Dedicated connections that may be open at once. */
  readonly max: number;

  /** @internal */
  constructor(poolId: string, open: number, max: number, setting: string, details: PoolErrorDetails = {}) {
    super(
      `Pool "${poolId}" has ${open} of ${max} dedicated connections open. End those that are done (quit() or disconnect()), or raise ${setting}.`,
      { ...details, poolId },
    );
    this.max = max;
  }
}

/** A query was given up because its caller's AbortSignal fired; `cause` is the signal's reason. */
export class QueryAbortedError extends PoolError {
  readonly code = 'POOL_QUERY_ABORTED';

  /** @internal */
  constructor(poolId: string, details: PoolErrorDetails = {}) {
    super(
      `A query on pool "${poolId}" was aborted by its signal. It may have been executed on the server nevertheless, unless it ran in a transaction.`,
      {
        ...details,
        poolId,
      },
    );
  }
}

/**
 * The transaction was rolled back although its function returned: a statement in it had failed, and the error was
 * swallowed.
 */
export class TransactionAbortedError extends PoolError {
  readonly code = 'POOL_TRANSACTION_ABORTED';

  /** @internal */
  constructor(poolId: string, details: PoolErrorDetails) {
    super(
      `A transaction on pool "${poolId}" was rolled back instead of committed: a statement in it had failed (see cause). ` +
        `Let such errors reach transaction(), or run what may fail in a nested tx.transaction().`,
      { ...details, poolId },
    );
  }
}

/** A library has tried to open a connection of its own, outside the pool: past its limits, and as no tenant. */
export class ClientRefusedError extends PoolError {
  readonly code = 'POOL_CLIENT_REFUSED';

  /** @internal */
  constructor(poolId: string) {
    super(
      `A connection outside pool "${poolId}" was refused: the module that asPgModule() gives has a Pool, and no Client. ` +
        `Use a library that takes a pool, or give it pg itself where no tenant and no limit is meant.`,
      { poolId },
    );
  }
}
