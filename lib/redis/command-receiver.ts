/**
 * What ioredis' methods that send a command read of their client.
 *
 * They look at its options and its `sendCommand` for each command. Read from the facade, which is a proxy, that would
 * cost as much as the rest of the command.
 */
import type { Command } from 'ioredis';

/** The facade whose commands they are. */
export interface CommandSource {
  /** The client's options as a caller has set them, or as they are behind the facade. */
  readonly presentOptions: {
    readonly keyPrefix?: string | undefined;
    readonly showFriendlyErrorStack?: boolean | undefined;
  };
  sendFrom(receiver: object, command: Command, stream: unknown, node: unknown): unknown;
}

/** What is read of a client's options to make a command. */
class CommandOptions {
  readonly #facade: CommandSource;
  /**
   * One connection's commands of a turn are gathered anyway (gathered-writes.ts), which costs less than pipelines of
   * them.
   */
  readonly enableAutoPipelining = false;

  constructor(facade: CommandSource) {
    this.#facade = facade;
  }

  get keyPrefix(): string | undefined {
    return this.#facade.presentOptions.keyPrefix;
  }

  get showFriendlyErrorStack(): boolean | undefined {
    return this.#facade.presentOptions.showFriendlyErrorStack;
  }
}

export class CommandReceiver {
  readonly options: CommandOptions;
  readonly #facade: CommandSource;

  constructor(facade: CommandSource) {
    this.options = new CommandOptions(facade);
    this.#facade = facade;
  }

  sendCommand(command: Command, stream: unknown, node: unknown): unknown {
    return this.#facade.sendFrom(this, command, stream, node);
  }
}
