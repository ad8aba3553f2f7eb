// What a program and the supervisor of one of its servers say to each other: one JSON object a line, requests one way,
// answers and events the other.

/** A program to run. `{directory}` in the file's path and in the arguments stands for the server's directory. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** What is done once, before the server's first launch. */
export interface Preparation {
  /** The start of the path of the directory that is made for the server. */
  readonly prefix: string;
  /** The user as whom everything runs and to whom the directory belongs. Default: the current user. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Written into the directory; in the text, too, `{directory}` stands for its path. */
  readonly files: readonly { readonly name: string; readonly text: string }[];
  /** Copied into the directory. */
  readonly folders: readonly { readonly name: string; readonly from: string }[];
  /** Run in turn; the first that fails fails the preparation. */
  readonly commands: readonly Command[];
}

/** How the server runs. */
export interface Launch extends Command {
  /** The source of a regular expression: a line of output that says that the server accepts connections. */
  readonly ready: string;
  /** The signal that ends it for good and fast. */
  readonly quit: NodeJS.Signals;
}

/**
 * - `prepare`  makes the server's directory and fills it; answers with its path
 * - `launch`   starts the server; answers with its process id once it is ready
 * - `halt`     ends it by a signal; answers once it has gone
 * - `freeze`, `thaw`  SIGSTOP, SIGCONT for the server and its children
 */
export type Request =
  | { readonly id: number; readonly request: 'prepare'; readonly preparation: Preparation }
  | { readonly id: number; readonly request: 'launch'; readonly launch: Launch }
  | { readonly id: number; readonly request: 'halt'; readonly signal: NodeJS.Signals }
  | { readonly id: number; readonly request: 'freeze' | 'thaw' };

/** To the request of that id. `error` says that it failed. */
export interface Answer {
  readonly id: number;
  readonly error?: string;
  readonly directory?: string;
  readonly pid?: number | undefined;
}

/** A line that the server printed, or its end. */
export type Event = { readonly event: 'output'; readonly line: string } | { readonly event: 'exit' };
