/**
 * The APMs of the matrix, each as its users set it up. The first is none: what the others are compared with.
 *
 * @typedef {object} Apm
 * @property {string} name
 * @property {string} module of application/apms
 * @property {Record<string, unknown>} options of that module
 * @property {string[]} [nodeArgs]
 * @property {Record<string, string>} [env]
 */

/** @type {Apm} */
export const control = { name: 'no APM', module: 'none', options: {} };

/** @type {readonly Apm[]} */
export const apms = [
  openTelemetry({}),
  openTelemetry({ addSqlCommenterCommentToQueries: true }),
  openTelemetry({ enableTraceContextPropagation: true }),
  openTelemetry({ requireParentSpan: true }),
  openTelemetry({ enhancedDatabaseReporting: true }),
  { name: 'Sentry', module: 'sentry', options: {} },
  datadog('disabled'),
  datadog('service'),
  datadog('full'),
  { name: 'Nest Observe', module: 'nest-observe', options: {} },
];

/**
 * @param {Record<string, boolean>} options of the instrumentation for pg
 * @returns {Apm}
 */
function openTelemetry(options) {
  return { name: ['OpenTelemetry', ...Object.keys(options)].join(', '), module: 'opentelemetry', options };
}

/**
 * @param {string} dbm how statements name their spans
 * @returns {Apm}
 */
function datadog(dbm) {
  return {
    name: `Datadog, DBM ${dbm}`,
    module: 'datadog',
    options: { dbm },
    nodeArgs: ['--import', 'dd-trace/initialize.mjs'],
    env: {
      DD_SERVICE: 'apm-matrix',
      DD_DBM_PROPAGATION_MODE: dbm,
      DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
      DD_REMOTE_CONFIGURATION_ENABLED: 'false',
      DD_TRACE_STARTUP_LOGS: 'false',
    },
  };
}
