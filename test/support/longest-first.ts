import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files that take more than ten seconds on quiet cores, those that compute before those that wait. By folder
 * where all of its files do.
 */
const LONG = [
  'package/site.',
  'package/package.',
  'engines/nats-cluster.',
  'engines/redis',
  'engines/',
  'backplanes/nats.',
  'fuzz/',
  'simulation/simulation.',
  'soak/',
  'backplanes/',
  'examples/chat',
  'adapters/neighbour.',
  'package/docs.',
  'presence/cluster.',
  'proxies/',
  'examples/',
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
  if (project.config.isolate === false) return LONG.length + 1
  const index = LONG.findIndex((part) => moduleId.includes(`/test/${part}`))
  return index < 0 ? LONG.length : index
}
