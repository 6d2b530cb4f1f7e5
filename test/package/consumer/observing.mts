// Type-checked against the installed package, with the tools of an operator beside it. Never run.
import { metrics, trace } from '@opentelemetry/api'
import { Registry, register } from 'prom-client'
import { Hub, type Instrument, instruments, readInstruments } from 'wshub'
import { logTo } from 'wshub/log'
import { hubMetrics as observe, tracedCallbacks, traceUpgrades } from 'wshub/opentelemetry'
import { hubMetrics } from 'wshub/prometheus'

const hub = new Hub<{ userId: string }>({
  callbackContext: tracedCallbacks({ tracer: trace.getTracer('chat') }),
})

export const stops: (() => void)[] = [
  hubMetrics(hub),
  hubMetrics(hub, { register: new Registry(), prefix: 'chat_', labels: { hub: 'chat' } }),
  hubMetrics(hub, { register }),
  observe(hub, { meter: metrics.getMeter('chat'), attributes: { hub: 'chat' } }),
  traceUpgrades(hub),
  logTo(console, hub, { maxLines: 10, everyMs: 60_000 }),
]

export const table: readonly Instrument[] = instruments
for (const { samples } of readInstruments(hub)) console.log(samples)

// @ts-expect-error not a logger
logTo({ info: console.info }, hub)
// @ts-expect-error not a register
hubMetrics(hub, { register: new Map() })
new Hub({ callbackContext: () => (_name, call) => call() })
// @ts-expect-error not a function that returns one
new Hub({ callbackContext: () => 'onMessage' })
