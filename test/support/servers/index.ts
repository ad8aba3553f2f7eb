// The servers that tests, benchmarks and the sample app run against. Never part of the published package.
export { startFaultProxy, type FaultProxy, type ProxyCounters, type Target } from './fault-proxy.js';
export { freePort, LOOPBACK } from './free-port.js';
export { startHttpServer, type HttpFixture, type HttpServerOptions, type RequestCounters } from './http-server.js';
export {
  providePostgres,
  startPostgres,
  type HaltMode,
  type PostgresOptions,
  type PostgresServer,
} from './postgres.js';
export { provideRedis, startRedis, startSentinel, type RedisOptions, type RedisServer } from './redis.js';
export {
  startRedisCluster,
  startRedisSentinel,
  type RedisCluster,
  type RedisGroupOptions,
  type RedisSentinel,
} from './redis-groups.js';
export { ServerNotOwnedError, type TestServer } from './server.js';
export { startUnansweredPort, type UnansweredPort } from './unanswered-port.js';
