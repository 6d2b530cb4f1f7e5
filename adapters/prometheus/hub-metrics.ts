import { register as globalRegister } from 'prom-client'
import { type Hub, HubError, instruments } from 'wshub'
import { checkHub, checkMethods, checkOptions } from '../arguments.ts'
import { HubEvents } from '../observing/hub-events.ts'
import { type AnyRegistry, HubMetric } from './hub-metric.ts'
import { HubSource } from './hub-source.ts'
import { metricName } from './metric-name.ts'

/** Options of {@link hubMetrics}. An explicit `undefined` means the default. */
export interface HubMetricsOptions {
  /** The register of `prom-client` that the metrics belong to. Default the global one. */
  register?: AnyRegistry | undefined
  /** Begins all names: `chat_` makes `chat_wshub_connections`. Default ''. */
  prefix?: string | undefined
  /**
   * Labels of all metrics of this hub, such as `{ hub: 'chat' }`. Several hubs in one register need different
   * ones. Default {}.
   */
  labels?: Readonly<Record<string, string>> | undefined
}

const KEYS: Required<HubMetricsOptions> = { register: undefined, prefix: undefined, labels: undefined }

/** The labels that instruments have themselves, and that of the buckets. */
const TAKEN: ReadonlySet<string> = new Set([
  'le',
  ...instruments.flatMap(({ series }) => series.flatMap((labels) => Object.keys(labels))),
])

/**
 * Adds the instruments of a hub to a register of `prom-client`: its `metrics()` shows them from then on,
 * until the hub is closed. They are read when the register is; nothing is computed between two scrapes.
 * @returns a function that removes them
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for an unknown option, a label that cannot be one, or the
 *   labels of another hub in that register
 */
export function hubMetrics(hub: Hub<object>, options: HubMetricsOptions = {}): () => void {
  checkHub(hub, 'hubMetrics')
  checkOptions(options, Object.keys(KEYS), 'hubMetrics')
  const { register = globalRegister, prefix = '', labels = {} } = options
  checkMethods(register, ['registerMetric', 'getSingleMetric'], 'the register')
  checkLabels(labels)
  if (hub.state === 'closed') return () => {}
  const source = new HubSource(hub, labels)
  const metrics = instruments.map((instrument) =>
    HubMetric.of(metricName(prefix, instrument), instrument, register),
  )
  if (metrics.some((metric) => metric.has(source))) {
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      'labels are different for each hub in a register: give each hub others, or another prefix',
    )
  }
  for (const metric of metrics) metric.add(source)
  const events = new HubEvents(hub, 'hubMetrics', () => {
    for (const metric of metrics) metric.delete(source)
  })
  return () => events.stop()
}

function checkLabels(labels: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(labels)) {
    const isLabel = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && !name.startsWith('__') && !TAKEN.has(name)
    if (isLabel && typeof value === 'string') continue
    throw new HubError(
      'WSHUB_ERR_INVALID_OPTION',
      `labels are texts by names that metrics do not have yet, not ${name}`,
    )
  }
}
