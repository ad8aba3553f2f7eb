/**
 * What a line of the log about something slow says of it.
 */
export interface SlowWork {
  readonly tenantId: string | undefined;
  readonly durationMs: number;
  readonly frame: string | undefined;
}
