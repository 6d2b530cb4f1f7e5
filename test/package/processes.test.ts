import { expect, it } from 'vitest'
import { testFiles } from '../support/processes.ts'

it('A test shares its process with others unless it measures the process, listens to it, or replaces parts of it', () => {
  const { shared, own } = testFiles()
  for (const file of [
    'test/adapters/after-upgrade.test.ts', // errors that nothing catches
    'test/base/eviction.test.ts', // processor time
    'test/cluster/cluster.test.ts', // timers that are left
    'test/cluster/replay-window.test.ts', // memory
    'test/client/lasting-socket.test.ts', // a module
    'test/connection/callbacks.test.ts', // warnings
    'test/simulation/simulation.test.ts', // the clock
  ])
    expect(own).toContain(file)
  expect(own.length).toBeLessThan(shared.length / 5)
})
