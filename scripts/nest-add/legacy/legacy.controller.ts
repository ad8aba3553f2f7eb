import { Controller, Get } from '@nestjs/common';
import { LegacyService } from './legacy.service.js';
import { ReportsRepository } from './reports.repository.js';

@Controller('legacy')
export class LegacyController {
  constructor(
    private readonly service: LegacyService,
    private readonly repository: ReportsRepository,
  ) {}

  @Get()
  async all() {
    return {
      users: await this.service.users(),
      reports: await this.repository.reports(),
      remote: await this.service.remote(),
    };
  }
}
