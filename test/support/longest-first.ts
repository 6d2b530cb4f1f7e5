import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that take more than ten seconds on quiet cores. By folder where all of its files do. */
const LONG = [
  'engines/redis.',
  'engines/redis-cluster.',
  'engines/nats',
  'package/package.',
  'backplanes/nats.',
  'engines/node-cluster.',
  'inspector/page.',
  'backplanes/redis-cluster.',
  'presence/processes.',
  'simulation/simulation.',
  'examples/chat',
  'adapters/neighbour.',
  'inspector/chromium.',
  'backplanes/redis.',
  'soak/',
  'presence/paced-rooms.',
  'conformance/echo.',
  'fuzz/',
  'examples/start.',
  'hub/shared-window-slow.',
  'inspector/lists.',
  'inspector/follow.',
  'drills/drills.',
  'http2/clients.',
  'proxies/',
  'engines/',
  'examples/cluster.',
  'cluster/room-churn.',
  'clients/',
  'base/thrown.',
  'delivery/delivery-model.',
  'base/errors.',
  'history/resync.',
  'connection/view-sending.',
  'connection/inflation.',
  'backplanes/',
  'upgrade/request-memory.',
  'client/firefox.',
  'conformance/compression.',
]

/**
 * Starts the longest files first, so that none runs by itself at the end; the files that share processes
 * last, since they share only while no other file is between them.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

function rankOf({ moduleId, project }: TestSpecification): number {
  const index = LONG.findIndex((part) => moduleId.includes(`/test/${part}`))
  const rank = index < 0 ? LONG.length : index
  return project.config.isolate === false ? LONG.length + 1 + rank : rank
}
