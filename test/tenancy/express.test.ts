import { ExpressAdapter } from '@nestjs/platform-express';

import { describeTenancy } from './support/http-expectations.js';

describeTenancy('Express', () => new ExpressAdapter());
