import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { callCases } from './call-cases.ts'
import { ClusterFixture, type Launch } from './cluster-fixture.ts'
import { faultCases, type Outage } from './fault-cases.ts'
import { messageCases } from './message-cases.ts'
import { presenceCases } from './presence-cases.ts'
import { processCases } from './process-cases.ts'

/** An engine, and the outages that the suite causes. */
export interface EngineSetup {
  start(): Promise<unknown>
  stop(): Promise<unknown>
  readonly launch: Launch
  /** Whether each of the three has a process of its own, which can be stopped and killed. */
  readonly areProcesses: boolean
  /** By the name of each test, which completes "when the engine …". */
  readonly outages: Readonly<Record<string, Outage>>
}

/** Tests of several hubs over an engine, and of failures of the engine and of a hub. */
export function engineSuite(name: string, setup: EngineSetup): void {
  describe(name, () => {
    const cluster = new ClusterFixture(setup.launch)

    beforeAll(async () => {
      await setup.start()
      await cluster.open()
    })

    // Fails when a process has died.
    afterEach(async () => {
      await Promise.all(cluster.living.map((hub) => hub.call('seen')))
    })

    afterAll(async () => {
      cluster.end()
      await setup.stop()
    })

    describe('a message', () => messageCases(cluster))
    describe('the cluster', () => callCases(cluster))
    describe('presence: the', () => presenceCases(cluster))
    for (const [what, outage] of Object.entries(setup.outages)) {
      describe(`when the engine ${what}`, () => faultCases(cluster, outage))
    }
    if (setup.areProcesses) describe('when a process', () => processCases(cluster))
  })
}
