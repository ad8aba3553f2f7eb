import { HttpModule } from '@nestjs/axios';
import { Module } from '@nestjs/common';
import { Pool } from 'pg';
import { LegacyController } from './legacy.controller.js';
import { LegacyService } from './legacy.service.js';
import { ReportsRepository } from './reports.repository.js';
import { PG_POOL } from './tokens.js';

@Module({
  imports: [HttpModule.register({ baseURL: process.env.API_URL, timeout: 5_000 })],
  controllers: [LegacyController],
  providers: [
    LegacyService,
    ReportsRepository,
    {
      provide: PG_POOL,
      useFactory: () => new Pool({ connectionString: process.env.DATABASE_URL }),
    },
  ],
})
export class LegacyModule {}
