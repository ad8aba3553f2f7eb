/** What a pool's connections lead to. */
export type PoolType = 'database' | 'redis' | 'http' | 'external';
