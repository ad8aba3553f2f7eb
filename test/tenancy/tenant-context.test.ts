import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, it } from '@jest/globals';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { TenantInvalidError } from '../../lib/errors.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('The tenant context', () => {
  it('has no tenant outside run()', () => {
    expect(new TenantContext().current()).toBeUndefined();
  });

  it('holds for the function, for what it awaits, and for nothing after it', async () => {
    const tenants = new TenantContext();
    const inside = tenants.run('acme', async () => {
      const first = tenants.current();
      await turn();
      return [first, tenants.current()];
    });
    expect(tenants.current()).toBeUndefined();
    expect(await inside).toEqual(['acme', 'acme']);
    expect(tenants.current()).toBeUndefined();
  });

  it('returns to the outer tenant after an inner one, also when the inner function throws', () => {
    const tenants = new TenantContext();
    tenants.run('outer', () => {
      expect(() =>
        tenants.run('inner', () => {
          throw new Error(tenants.current());
        }),
      ).toThrow('inner');
      expect(tenants.current()).toBe('outer');
    });
  });

  it('keeps concurrent work apart', async () => {
    const tenants = new TenantContext();
    const ids = Array.from({ length: 50 }, (_, n) => `tenant-${n}`);
    const seen = await Promise.all(
      ids.map((id) =>
        tenants.run(id, async () => {
          for (let n = 0; n < 5; n++) await turn();
          return tenants.current();
        }),
      ),
    );
    expect(seen).toEqual(ids);
  });

  it('refuses a malformed tenant before it calls anything', () => {
    const tenants = new TenantContext();
    let called = false;
    expect(() => tenants.run('ac\nme', () => (called = true))).toThrow(TenantInvalidError);
    expect(called).toBe(false);
  });

  it("keeps the request's scope for a tenant that the request's code takes on", () => {
    const tenants = new TenantContext();
    const scope = new LeaseScope();
    const frame = { tenantId: undefined, scope, holding: undefined };
    tenants.runFrame(frame, () =>
      tenants.run('acme', () => expect(tenants.frame()).toEqual({ ...frame, tenantId: 'acme' })),
    );
  });

  it('takes the tenant, and leaves the request and the lease that it holds behind, for work that is detached', async () => {
    const tenants = new TenantContext();
    const { pool } = fakePool();
    const holding = await pool.acquire('acme');
    await tenants.runFrame({ tenantId: 'acme', scope: new LeaseScope(), holding }, async () => {
      const detached = { tenantId: 'acme', scope: undefined, holding: undefined };
      expect(tenants.runDetached(tenants.current(), () => tenants.frame())).toEqual(detached);
      expect(tenants.runDetached(undefined, () => tenants.frame())).toEqual({ ...detached, tenantId: undefined });
      expect(await tenants.runDetached('globex', () => turn().then(() => tenants.current()))).toBe('globex');
      expect(tenants.frame()?.scope).toBeDefined();
    });
    expect(() => tenants.runDetached('', () => undefined)).toThrow(TenantInvalidError);
    holding.release();
  });

  it('is one of several: two applications in a process see nothing of each other', () => {
    const one = new TenantContext();
    const other = new TenantContext();
    one.run('acme', () => expect(other.current()).toBeUndefined());
  });
});
