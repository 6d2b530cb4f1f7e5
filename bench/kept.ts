import { fileURLToPath } from 'node:url'
import { median, type Result } from './result.ts'
import type { KeptScenario } from './scenarios.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = 5
const SERVER_CORE = 0

/** The bytes of memory that the messages of a history take, by how the process counts them. */
export interface Kept {
  version: string
  /** Heap and buffers, after a garbage collection. */
  heldBytes: number
  rssBytes: number
  frameBytes: number
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
    return await subprocess.call<Kept>('fill', { messages, payloadBytes })
  } finally {
    await subprocess.stop()
  }
}
