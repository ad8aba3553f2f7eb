/**
 * What a search for something to replace is given, and what it finds.
 */
import type { PoolEntry } from '../project/registration.js';
import type { CodeStyle } from '../text/code-style.js';
import type { Rewrite } from './rewrite.js';

/** Where the pools of one kind go. */
export interface Target {
  /** The file in which pools are declared. */
  readonly path: string;
  /** How the file is written in which pools are declared. */
  readonly style: CodeStyle;
  /** Names that a new pool can't have. */
  readonly taken: ReadonlySet<string>;
  /** Whether there is one pool for all, which is declared already. */
  readonly isDeclared: boolean;
  /** The name of that pool, else the one that is proposed. */
  name(proposed: string): string;
}

/** What the user has to look at, wherever its line is once all the changes are made. */
export interface Note {
  readonly path: string;
  /** A piece of the line, as it is in the end. */
  readonly piece: string;
  readonly text: string;
}

/** A place that was found, and the changes that replace what is there. */
export interface SureMigration {
  readonly place: string;
  readonly rewrite: Rewrite;
  /** The pool to declare; undefined where it is declared. */
  readonly entry: PoolEntry | undefined;
  /** What its declaration uses of this package. */
  readonly names: readonly string[];
  /** Imports that may be left without a use. */
  readonly unused: readonly (readonly [name: string, from: string | undefined])[];
  readonly done: string;
  readonly notes: readonly Note[];
}

/** A place that was found, and is left as it is. */
export interface UnsureMigration {
  readonly place: string;
  /** Why it is left as it is, and what to do. */
  readonly unsure: string;
  /** Only of interest where something else was changed. */
  readonly onlyAfterChanges?: boolean;
}

export type Migration = SureMigration | UnsureMigration;
