import { Pool } from 'pg';

/** No class of Nest: nothing can be injected here. */
export const makePool = () => new Pool();
