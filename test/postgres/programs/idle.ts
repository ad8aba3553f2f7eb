// Uses a pool and forgets to close it: the process must end by itself.
import { ConnectionPoolManager } from '../../../lib/manager/connection-pool-manager.js';

const manager = new ConnectionPoolManager();
const pool = await manager.createDatabasePool('orders', {
  connectionString: process.argv[2],
  minSize: 2,
  maxSize: 3,
  startup: 'background',
});
console.log('queried', (await pool.query<{ n: number }>('select 1 as n')).rows[0]?.n);
const client = await pool.connect();
await client.query('select 2');
client.release();
console.log('forgotten');
