// A program for tests: starts a PostgreSQL and a Redis, says which processes and directories they are, and waits for
// its end.
import { dirname } from 'node:path';

import { startPostgres, startRedis } from '../servers/index.js';

const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
console.log(`owns ${JSON.stringify({ pids: [postgres.pid, redis.pid], directories: [dirname(postgres.dataDir)] })}`);
