/**
 * What `nest add nestjs-pool-manager` was asked for.
 */
export type Kind = 'postgres' | 'redis' | 'http';

/** The options as schema.json describes them, and those that Nest's CLI hands to every schematic. */
export interface NestAddInput {
  readonly kinds?: string | readonly string[];
  readonly postgresPool?: string;
  readonly redisPool?: string;
  readonly httpPool?: string;
  readonly tenantHeader?: string;
  readonly health?: boolean;
  readonly shutdownHooks?: boolean;
  readonly envExample?: boolean;
  readonly project?: string;
  readonly sourceRoot?: string;
  readonly skipInstall?: boolean;
  /** `-p`, `-s` and `-d` reach the schematic as they are where no long option comes before them. */
  readonly p?: string;
  readonly s?: boolean;
  readonly d?: boolean;
}

export interface NestAddOptions {
  readonly kinds: readonly Kind[];
  readonly poolNames: Readonly<Record<Kind, string>>;
  readonly tenantHeader: string | undefined;
  readonly health: boolean;
  readonly shutdownHooks: boolean;
  readonly envExample: boolean;
  readonly project: string | undefined;
  readonly sourceRoot: string | undefined;
  readonly skipInstall: boolean;
}

const KINDS: readonly Kind[] = ['postgres', 'redis', 'http'];

/** @throws Error for options that would be misunderstood. */
export function readOptions(input: NestAddInput): NestAddOptions {
  // Nest's CLI takes the letter, and then doesn't pass on what it means.
  if (input.d === true) throw new Error('-d would be ignored: write --dry-run');
  const wanted = typeof input.kinds === 'string' ? input.kinds.split(',') : (input.kinds ?? ['postgres']);
  const poolNames = {
    postgres: input.postgresPool ?? 'database',
    redis: input.redisPool ?? 'cache',
    http: input.httpPool ?? 'api',
  };
  const kinds = KINDS.filter((kind) => wanted.includes(kind));
  const names = kinds.map((kind) => poolNames[kind]);
  if (new Set(names).size < names.length) throw new Error(`Two pools can't have one name: ${names.join(', ')}`);
  return {
    kinds,
    poolNames,
    tenantHeader: input.tenantHeader === '' ? undefined : input.tenantHeader,
    health: input.health ?? true,
    shutdownHooks: input.shutdownHooks ?? true,
    envExample: input.envExample ?? true,
    project: input.project ?? input.p,
    sourceRoot: input.sourceRoot,
    skipInstall: (input.skipInstall ?? false) || input.s === true,
  };
}
