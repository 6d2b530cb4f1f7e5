export type { AnyRegistry } from './hub-metric.ts'
export { type HubMetricsOptions, hubMetrics } from './hub-metrics.ts'
