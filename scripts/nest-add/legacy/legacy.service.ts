import { HttpService } from '@nestjs/axios';
import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Pool } from 'pg';
import { firstValueFrom } from 'rxjs';
import { PG_POOL } from './tokens.js';

@Injectable()
export class LegacyService implements OnModuleDestroy {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly http: HttpService,
  ) {}

  async users(): Promise<unknown[]> {
    return (await this.pool.query('select 1 as one')).rows;
  }

  async remote(): Promise<unknown> {
    const { data } = await firstValueFrom(this.http.get<unknown>('/invoices'));
    return data;
  }

  async onModuleDestroy() {
    await this.pool.end();
  }
}
