import { setTimeout as sleep } from 'node:timers/promises'
import { Contestant } from './contestant.ts'
import { findPeer } from './peers.ts'
import type { Result } from './result.ts'
import type { IdleScenario } from './scenario.ts'

const SETTLE_MS = 3_000

/** Measures the cost of keeping idle connections alive. Every client must get a ping in the given time. */
export async function runIdle(name: string, scenario: IdleScenario): Promise<Result> {
  const peer = findPeer('wshub')
  if (!peer) throw new Error('wshub is missing')
  const contestant = await Contestant.start(peer, { answer: 'nothing', rooms: 0, compression: false })
  try {
    await contestant.connect({
      clients: scenario.clients,
      members: 0,
      rooms: 0,
      roomsPerMember: 0,
      compression: false,
      payloadBytes: 0,
    })
    await sleep(SETTLE_MS)
    const { pings, spent } = await contestant.measure(
      async () => {
        const before = await contestant.load.call<number>('countPings')
        await sleep(scenario.windowMs)
        return { pings: (await contestant.load.call<number>('countPings')) - before }
      },
      { sampleLoopDelay: false },
    )
    if (pings < scenario.clients) throw new Error(`${scenario.clients} idle clients got only ${pings} pings`)
    const cpuShare = spent.cpuMicros / 1000 / spent.wallMs
    return {
      scenario: name,
      title: scenario.title,
      figure: 'share of one core, %',
      columns: [
        { label: '% of a core', digits: 2 },
        { label: 'pings', digits: 0 },
        { label: 'seconds', digits: 1 },
      ],
      rows: [
        {
          name: 'wshub',
          version: contestant.version,
          figures: [cpuShare * 100, pings, spent.wallMs / 1000],
          comparison: { value: cpuShare * 100, unit: ' %', atMost: scenario.maxCpuShare * 100 },
        },
      ],
    }
  } finally {
    await contestant.stop()
  }
}
