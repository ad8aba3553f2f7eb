export const PG_POOL = 'PG_POOL';
