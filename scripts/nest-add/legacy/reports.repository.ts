import { Injectable } from '@nestjs/common';
import { Pool } from 'pg';

@Injectable()
export class ReportsRepository {
  private readonly pool = new Pool({
    connectionString: process.env.DATABASE_URL,
    max: 2,
  });

  async reports(): Promise<unknown[]> {
    const client = await this.pool.connect();
    try {
      return (await client.query('select 2 as two')).rows;
    } finally {
      client.release();
    }
  }
}
