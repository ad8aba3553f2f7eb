/**
 * The schema and the first rows. Runs at every start and changes nothing that is there already.
 */
import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { InjectPool, PostgresPool } from 'nestjs-pool-manager';

/** Any number, the same for every instance: they take turns. */
const MIGRATION_LOCK = 7_305_001;

const SCHEMA = `
  create table if not exists orders (
    id bigint generated always as identity primary key,
    tenant_id text not null default nullif(current_setting('app.tenant_id', true), ''),
    item text not null,
    quantity integer not null check (quantity > 0),
    invoice text,
    created_at timestamptz not null default now()
  );
  create index if not exists orders_by_tenant on orders (tenant_id, id);
  alter table orders enable row level security;
  -- Without FORCE the policies would not bind the table's owner, which is who this service connects as.
  alter table orders force row level security;
  drop policy if exists own_rows on orders;
  create policy own_rows on orders
    using (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    with check (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
`;

const FIRST_ORDERS: Readonly<Record<string, readonly string[]>> = {
  acme: ['anvil', 'rocket skates'],
  globex: ['hammock'],
  initech: ['stapler', 'cover sheet'],
};

@Injectable()
export class Migrations implements OnApplicationBootstrap {
  constructor(@InjectPool('orders') private readonly orders: PostgresPool) {}

  async onApplicationBootstrap(): Promise<void> {
    // The schema belongs to no tenant; saying so is the only way past a pool that isolates them.
    await this.orders.unscoped().transaction(async (tx) => {
      await tx.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
      await tx.query(SCHEMA);
    });
    for (const [tenantId, items] of Object.entries(FIRST_ORDERS)) await this.seed(tenantId, items);
  }

  private async seed(tenantId: string, items: readonly string[]): Promise<void> {
    await this.orders.forTenant(tenantId).transaction(async (tx) => {
      await tx.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
      await tx.query(
        `insert into orders (item, quantity)
         select item, 1 from unnest($1::text[]) as item
         where not exists (select from orders)`,
        [items],
      );
    });
  }
}
