import { fileURLToPath } from 'node:url'
import { RedisServer } from './redis-server.ts'
import { median, type Result, type Row } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { StoredScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = roundsOf(5)
const CORE = 0

/** The work of Redis for a message. */
interface Work {
  cpuMicros: number
  reads: number
  scripts: number
}

/** Compares the work of Redis for a message that is stored and published with that for a plain PUBLISH. */
export async function runStored(name: string, scenario: StoredScenario): Promise<Result> {
  const redis = await RedisServer.start()
  const file = fileURLToPath(new URL('servers/redis-publisher.mjs', import.meta.url))
  const publisher = new Subprocess('publisher', process.execPath, [file], CORE)
  try {
    const { maxMessages } = scenario
    await publisher.call('connect', { url: redis.url, maxMessages })
    const read = async (how: 'history' | 'plain', inFlight: number): Promise<Work> => {
      const { messages, payloadBytes } = scenario
      const before = await redis.counts()
      await publisher.call('publish', { how, messages, inFlight, payloadBytes })
      const after = await redis.counts()
      return {
        cpuMicros: (after.mainThreadMicros - before.mainThreadMicros) / messages,
        reads: (after.reads - before.reads) / messages,
        scripts: (after.scripts - before.scripts) / messages,
      }
    }
    const rows: Row[] = []
    for (const inFlight of scenario.inFlight) {
      const histories: Work[] = []
      const plains: Work[] = []
      for (let round = -1; round < ROUNDS; round++) {
        const [history, plain] = [await read('history', inFlight), await read('plain', inFlight)]
        if (round < 0) continue // the first one fills the history
        histories.push(history)
        plains.push(plain)
      }
      const value = median(
        histories.map(({ cpuMicros }, index) => cpuMicros / (plains[index]?.cpuMicros ?? Number.NaN)),
      )
      rows.push(rowOf(`stored, ${inFlight} in flight`, histories), {
        ...rowOf(`PUBLISH, ${inFlight} in flight`, plains),
        comparison: { value, unit: '×', atMost: scenario.maxRatio },
      })
    }
    return {
      scenario: name,
      title: scenario.title,
      figure: 'CPU of the main thread of Redis a message, µs',
      columns: [
        { label: 'µs CPU', digits: 1 },
        { label: 'lowest', digits: 1 },
        { label: 'highest', digits: 1 },
        { label: 'reads', digits: 2 },
        { label: 'scripts', digits: 2 },
      ],
      rows,
    }
  } finally {
    await Promise.all([publisher.stop(), redis.stop()])
  }
}

function rowOf(name: string, works: readonly Work[]): Row {
  const micros = works.map(({ cpuMicros }) => cpuMicros)
  return {
    name,
    version: '',
    figures: [
      median(micros),
      Math.min(...micros),
      Math.max(...micros),
      median(works.map(({ reads }) => reads)),
      median(works.map(({ scripts }) => scripts)),
    ],
  }
}
