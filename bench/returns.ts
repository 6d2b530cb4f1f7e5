import { fileURLToPath } from 'node:url'
import type { Spent } from './contestant.ts'
import { median, type Result, type Row } from './result.ts'
import type { ReturnOptions } from './returning-load.ts'
import { roundsOf } from './rounds.ts'
import type { ReturnsScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = roundsOf(3)
const SERVER_CORE = 0
const LOAD_CORE = 1

/** Compares clients that come back and get what they missed with clients that only connect. */
export async function runReturns(name: string, scenario: ReturnsScenario): Promise<Result> {
  const { clients, missed, maxExtraMicros, maxLoopDelayMs } = scenario
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
  const server = new Subprocess('wshub', process.execPath, [file('servers/wshub-history.mjs')], SERVER_CORE)
  const load = new Subprocess(
    'clients',
    process.execPath,
    ['--import', 'tsx', file('returning-load.ts')],
    LOAD_CORE,
  )
  try {
    const { port, version } = await server.call<{ port: number; version: string }>('listen')
    let next = 0
    const publish = async (messages: number) => {
      const { payloadBytes } = scenario
      const position = await server.call<string>('publishSome', { first: next, messages, payloadBytes })
      next += messages
      return position
    }
    const readRound = async (isPlain: boolean, sampleLoopDelay: boolean): Promise<Spent> => {
      const since = await publish(1)
      const first = next
      await publish(missed)
      await server.call('beginRound', { sampleLoopDelay })
      await load.call('return', {
        port,
        path: isPlain ? '/?plain' : `/?since=${since}`,
        clients,
        withinMs: scenario.withinMs,
        first,
        messages: isPlain ? 0 : missed,
      } satisfies ReturnOptions)
      const spent = await server.call<Spent>('endRound')
      await load.call('leave')
      await server.call('allGone')
      return spent
    }
    const plain: Spent[] = []
    const resumed: Spent[] = []
    for (let round = -1; round < ROUNDS; round++) {
      const pair = [await readRound(true, false), await readRound(false, false)] as const
      if (round < 0) continue
      plain.push(pair[0])
      resumed.push(pair[1])
    }
    const micros = ({ cpuMicros }: Spent) => cpuMicros / clients
    const rowOf = async (label: string, rounds: readonly Spent[], isPlain: boolean): Promise<Row> => {
      const delays = [
        await readRound(isPlain, true),
        await readRound(isPlain, true),
        await readRound(isPlain, true),
      ]
      const costs = rounds.map(micros)
      return {
        name: label,
        version,
        figures: [
          median(costs),
          Math.min(...costs),
          Math.max(...costs),
          median(rounds.map(({ wallMs }) => wallMs / 1_000)),
          median(delays.map(({ loopDelayP99Ms = Number.NaN }) => loopDelayP99Ms)),
          median(delays.map(({ turnMaxCpuMs = Number.NaN }) => turnMaxCpuMs)),
          median(delays.map(({ loopDelayMaxMs = Number.NaN }) => loopDelayMaxMs)),
        ],
      }
    }
    const subject = await rowOf(`with ${missed} messages each`, resumed, false)
    const other = await rowOf('plain', plain, true)
    const extra = median(resumed.map((spent, index) => micros(spent) - micros(plain[index] ?? spent)))
    const stall = subject.figures.at(-1) ?? Number.NaN
    return {
      scenario: name,
      title: scenario.title,
      figure: 'server CPU for each client, µs',
      columns: [
        { label: 'µs CPU', digits: 0 },
        { label: 'lowest', digits: 0 },
        { label: 'highest', digits: 0 },
        { label: 'seconds', digits: 1 },
        { label: 'loop p99 ms', digits: 1 },
        { label: 'turn max CPU ms', digits: 1 },
        { label: 'loop max ms', digits: 1 },
      ],
      rows: [
        { ...subject, comparison: { value: stall, unit: ' ms loop max', atMost: maxLoopDelayMs } },
        { ...other, comparison: { value: extra, unit: ' µs more', atMost: maxExtraMicros } },
      ],
    }
  } finally {
    await Promise.all([server.stop(), load.stop()])
  }
}
