import { FastifyAdapter } from '@nestjs/platform-fastify';

import { describeTenancy } from './support/http-expectations.js';

describeTenancy('Fastify', () => new FastifyAdapter());
