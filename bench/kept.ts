import { fileURLToPath } from 'node:url'
import type { Memory } from './contestant.ts'
import { median, type Result } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { KeptScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = roundsOf(5)
const SERVER_CORE = 0

interface Filled {
  version: string
  frameBytes: number
}

/** The bytes of memory that the messages of a history take. */
interface Kept extends Filled {
  /** Heap and buffers. */
  heldBytes: number
  rssBytes: number
}

/** Measures the memory that a history takes for each message, in a fresh process for each reading. */
export async function runKept(name: string, scenario: KeptScenario): Promise<Result> {
  const readings: Kept[] = []
  for (let round = 0; round < ROUNDS; round++) readings.push(await readOnce(scenario))
  const each = (bytes: number) => bytes / scenario.messages
  const extra = median(readings.map(({ heldBytes, frameBytes }) => each(heldBytes - frameBytes)))
  return {
    scenario: name,
    title: scenario.title,
    figure: 'bytes a message, after a garbage collection',
    columns: ['bytes held', 'frame', 'resident'].map((label) => ({ label, digits: 0 })),
    rows: [
      {
        name: 'wshub',
        version: readings[0]?.version ?? '',
        figures: [
          median(readings.map(({ heldBytes }) => each(heldBytes))),
          median(readings.map(({ frameBytes }) => each(frameBytes))),
          median(readings.map(({ rssBytes }) => each(rssBytes))),
        ],
        comparison: { value: extra, unit: ' B', atMost: scenario.maxExtraBytes },
      },
    ],
  }
}

async function readOnce({ messages, payloadBytes }: KeptScenario): Promise<Kept> {
  const file = fileURLToPath(new URL('servers/wshub-kept.mjs', import.meta.url))
  const subprocess = new Subprocess('wshub', process.execPath, ['--expose-gc', file], SERVER_CORE)
  try {
    const fill = () => subprocess.call<Filled>('fill', { messages, payloadBytes })
    await fill() // code and pools are not counted
    const before = await subprocess.call<Memory>('memory')
    const filled = await fill()
    const after = await subprocess.call<Memory>('memory')
    return {
      ...filled,
      heldBytes: after.heldBytes - before.heldBytes,
      rssBytes: after.rssBytes - before.rssBytes,
    }
  } finally {
    await subprocess.stop()
  }
}
