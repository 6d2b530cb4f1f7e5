export { type HubMetricsOptions, hubMetrics } from './hub-metrics.ts'
export { type TracedCallbacksOptions, tracedCallbacks } from './traced-callbacks.ts'
export { type TraceUpgradesOptions, traceUpgrades } from './upgrade-spans.ts'
