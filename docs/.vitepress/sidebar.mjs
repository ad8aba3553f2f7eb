/**
 * The pages of the site in the order in which they are read, as [title, path]. `npm run docs` refuses a page that isn't
 * here.
 *
 * @type {readonly { readonly text: string, readonly folder: string, readonly pages: readonly [string, string][] }[]}
 */
export const chapters = [
  {
    text: '1. Introduction',
    folder: '01-introduction',
    pages: [
      ['What it is', 'what-it-is'],
      ['Five minutes', 'five-minutes'],
      ['With nest add', 'nest-add'],
      ['How it works', 'how-it-works'],
    ],
  },
  {
    text: '2. Guides',
    folder: '02-guides',
    pages: [
      ['Declaring pools', 'declaring-pools'],
      ['Tenants and limits', 'tenants'],
      ['Isolation in PostgreSQL', 'isolation'],
      ['Queries and sessions', 'postgres'],
      ['Transactions', 'transactions'],
      ['Redis', 'redis'],
      ['HTTP', 'http'],
      ['Health on Kubernetes', 'health'],
      ['Shutdown and rolling restarts', 'shutdown'],
      ['Sizing', 'sizing'],
      ['Errors and what to answer', 'errors'],
      ['Testing', 'testing'],
      ['Observability', 'observability'],
      ['Writing a driver', 'own-driver'],
    ],
  },
  {
    text: '3. Adopting it',
    folder: '03-adopting',
    pages: [
      ['TypeORM', 'typeorm'],
      ['Drizzle', 'drizzle'],
      ['Kysely', 'kysely'],
      ['Prisma', 'prisma'],
      ['BullMQ', 'bullmq'],
      ['Other libraries', 'other-libraries'],
    ],
  },
  {
    text: '4. Migrating',
    folder: '04-migrating',
    pages: [
      ['With the schematic', 'migrate'],
      ['From pg.Pool', 'pg-pool'],
      ["From TypeORM's pool", 'typeorm-pool'],
      ['From HttpModule', 'http-module'],
      ['From a bare ioredis', 'ioredis'],
      ['From generic-pool', 'generic-pool'],
    ],
  },
  {
    text: '5. Reference',
    folder: '05-reference',
    pages: [
      ['Options', 'options'],
      ['Errors', 'errors'],
      ['Metrics', 'metrics'],
      ['API', 'api/index'],
    ],
  },
  {
    text: '6. Considerations',
    folder: '06-considerations',
    pages: [
      ['What is promised', 'promises'],
      ['Security', 'security'],
      ['Limits', 'limits'],
      ['Performance', 'performance'],
    ],
  },
];
