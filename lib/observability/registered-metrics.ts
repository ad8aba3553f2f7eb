/**
 * Metrics of pools as prom-client's registry knows them: each reads the pools when it is asked for its values.
 *
 * All metrics of a registry are asked in one synchronous step, so the pools are read once a scrape, and all numbers of
 * a scrape are of the same moment.
 */
import type { Counter, Gauge, Histogram } from 'prom-client';

import type { DurationMetric, NumberMetric, PoolMetric } from './pool-metrics.js';
import { MANAGER_LABEL, POOL_LABELS } from './pool-metrics.js';
import type { DurationReading, PoolReader, PoolReading } from './pool-reading.js';
import type { MetricsRegistry, PromClient } from './prom-client.js';

/** A pool, with the labels of all its metrics. */
interface LabelledReading {
  readonly labels: Readonly<Record<string, string>>;
  readonly reading: PoolReading;
  /** Upper bounds of its buckets, in seconds. */
  readonly bounds: readonly number[];
}

/** The managers whose pools one registry shows. */
export class MetricsSources {
  readonly #readers = new Map<string | undefined, PoolReader>();
  #current: readonly LabelledReading[] | undefined;

  get size(): number {
    return this.#readers.size;
  }

  /** @param manager the name of the manager; `undefined`: it has none. @returns whether the name was free. */
  add(manager: string | undefined, reader: PoolReader): boolean {
    if (this.#readers.has(manager)) return false;
    this.#readers.set(manager, reader);
    return true;
  }

  /** @returns whether `reader` was that of the manager. */
  remove(manager: string | undefined, reader: PoolReader): boolean {
    if (this.#readers.get(manager) !== reader) return false;
    reader.close();
    return this.#readers.delete(manager);
  }

  /** Lets go of all managers. */
  close(): void {
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
  }

  /** Every pool, as it is in this synchronous step. */
  read(): readonly LabelledReading[] {
    if (this.#current === undefined) {
      this.#current = [...this.#readers].flatMap(([manager, reader]) =>
        reader.read().map((reading) => ({
          labels: {
            pool: reading.stats.poolId,
            type: reading.stats.type,
            ...(manager !== undefined && { [MANAGER_LABEL]: manager }),
          },
          reading,
          bounds: reader.bounds,
        })),
      );
      queueMicrotask(() => (this.#current = undefined));
    }
    return this.#current;
  }
}

/** Puts a metric into a registry. @throws Error when the registry has another metric of that name. */
export function register(
  client: PromClient,
  registry: MetricsRegistry,
  metric: PoolMetric,
  sources: MetricsSources,
): Counter | Gauge | Histogram {
  return metric.type === 'histogram'
    ? registerDurations(client, registry, metric, sources)
    : registerNumbers(client, registry, metric, sources);
}

function labelNames({ labels }: PoolMetric): string[] {
  return [...POOL_LABELS, MANAGER_LABEL, ...labels];
}

function registerNumbers(
  client: PromClient,
  registry: MetricsRegistry,
  metric: NumberMetric,
  sources: MetricsSources,
): Counter | Gauge {
  const { name, help } = metric;
  const Metric = metric.type === 'gauge' ? client.Gauge : client.Counter;
  const registered: Counter | Gauge = new Metric({
    name,
    help,
    labelNames: labelNames(metric),
    registers: [registry],
    collect: () => {
      registered.reset();
      for (const { labels, reading } of sources.read()) {
        for (const sample of metric.samples(reading)) registered.inc({ ...labels, ...sample.labels }, sample.value);
      }
    },
  });
  return registered;
}

/** A line of a histogram, as prom-client's registry writes it. */
interface HistogramLine {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  /** Written after `labels`. */
  readonly sharedLabels: Readonly<Record<string, string>>;
  readonly value: number;
}

function registerDurations(
  client: PromClient,
  registry: MetricsRegistry,
  metric: DurationMetric,
  sources: MetricsSources,
): Histogram {
  const { name, help } = metric;

  /** The registry, and `get()` of the class, ask for what `getForPromString` returns. */
  class PoolHistogram extends client.Histogram {
    getForPromString(): Promise<unknown> {
      const values = sources
        .read()
        .flatMap(({ labels, reading, bounds }) => linesOf(name, metric.durations(reading), bounds, labels));
      return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values });
    }
  }
  return new PoolHistogram({ name, help, labelNames: labelNames(metric), registers: [registry] });
}

function linesOf(
  name: string,
  { counts, count, sumMs }: DurationReading,
  bounds: readonly number[],
  labels: Readonly<Record<string, string>>,
): HistogramLine[] {
  const line = (suffix: string, value: number, own: Record<string, string | number> = {}): HistogramLine => ({
    metricName: `${name}_${suffix}`,
    labels: own,
    sharedLabels: labels,
    value,
  });
  return [
    ...bounds.map((le, index) => line('bucket', counts[index] ?? 0, { le })),
    line('bucket', count, { le: '+Inf' }),
    line('sum', sumMs / 1_000),
    line('count', count),
  ];
}
