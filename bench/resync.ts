import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Memory, Spent } from './contestant.ts'
import { median, type Result } from './result.ts'
import type { Resynced } from './resync-load.ts'
import { roundsOf } from './rounds.ts'
import type { ResyncScenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const ROUNDS = roundsOf(3)
const SERVER_CORE = 0
const LOAD_CORE = 1
const MEGABYTE = 1e6
/** How long both clients read first, and how long messages are sent once the second one reads again. */
const WARM_UP_SECONDS = 8
const REST_SECONDS = 12
/** The time after the last message, in which the clients get it. */
const REST_MS = 500
/** Messages that are published first, so that the history and the cache of recent messages are full. */
const MIN_KEPT = 150_000
/** Memory that the history may take for a message, so that the number of messages is its limit. */
const BYTES_PER_MESSAGE = 512

interface Reading extends Resynced {
  version: string
  /** The CPU time of the server until the client was live. */
  cpuMicros: number
  /** The most that waited for the client, as the hub counts it. */
  waitingBytes: number
  /** Heap and buffers in the end of the time in which it does not read, above those from before. */
  heldBytes: number
  rssBytes: number
}

/** Measures a client that stops reading under the policy `resync`: what is held for it, and its return. */
export async function runResync(name: string, scenario: ResyncScenario, seconds: number): Promise<Result> {
  const readings: Reading[] = []
  for (let round = 0; round < ROUNDS; round++) readings.push(await readOnce(scenario, seconds))
  const of = (figure: (reading: Reading) => number) => median(readings.map(figure))
  const waiting = of(({ waitingBytes }) => waitingBytes / MEGABYTE)
  const held = of(({ heldBytes }) => heldBytes / MEGABYTE)
  const live = of(({ liveMs }) => liveMs / 1_000)
  const { maxHeldBytes, maxLiveSeconds } = scenario
  return {
    scenario: name,
    title: `${scenario.title}, for ${seconds} s`,
    figure: 'memory held while it does not read, and what it gets until it is live',
    columns: [
      { label: 'MB waiting', digits: 2 },
      { label: 'MB held', digits: 2 },
      { label: 'MB resident', digits: 1 },
      { label: 'messages', digits: 0 },
      { label: 'live after s', digits: 2 },
      { label: 'server CPU s', digits: 2 },
      { label: 'client CPU s', digits: 2 },
      { label: 'p50 ms, others', digits: 1 },
      { label: 'p99 ms, others', digits: 1 },
    ],
    rows: [
      {
        name: 'wshub',
        version: readings[0]?.version ?? '',
        figures: [
          waiting,
          held,
          of(({ rssBytes }) => rssBytes / MEGABYTE),
          of(({ messages }) => messages),
          live,
          of(({ cpuMicros }) => cpuMicros / 1e6),
          of(({ clientMicros }) => clientMicros / 1e6),
          of(({ p50Ms }) => p50Ms),
          of(({ p99Ms }) => p99Ms),
        ],
        comparison: { value: waiting, unit: ' MB', atMost: maxHeldBytes / MEGABYTE },
      },
      {
        name: 'held while it does not read',
        version: '',
        figures: [],
        comparison: { value: held, unit: ' MB', atMost: maxHeldBytes / MEGABYTE },
      },
      {
        name: 'until it is live',
        version: '',
        figures: [],
        comparison: { value: live, unit: ' s', atMost: maxLiveSeconds },
      },
    ],
  }
}

async function readOnce(scenario: ResyncScenario, seconds: number): Promise<Reading> {
  const { payloadBytes, messagesPerSecond } = scenario
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
  const start = (name: string, core: number, ...args: string[]) =>
    new Subprocess(name, process.execPath, args, core)
  const server = start('wshub', SERVER_CORE, '--expose-gc', file('servers/wshub-history.mjs'))
  const load = start('clients', LOAD_CORE, '--import', 'tsx', file('resync-load.ts'))
  try {
    const kept = Math.max(MIN_KEPT, (seconds + WARM_UP_SECONDS) * messagesPerSecond)
    const { port, version } = await server.call<{ port: number; version: string }>('listen', {
      slowConsumer: 'resync',
      pingIntervalMs: 0, // who does not read answers no ping
      maxMessages: kept,
      maxBytesPerRoom: kept * BYTES_PER_MESSAGE,
    })
    await load.call('connect', { port })
    await server.call('publishSome', { first: 0, messages: kept, payloadBytes })
    let first = kept
    const feed = (feedSeconds: number) => {
      const messages = feedSeconds * messagesPerSecond
      const everyMs = 1_000 / messagesPerSecond
      const fed = server.call('feed', { first, messages, everyMs, payloadBytes })
      first += messages
      return fed
    }
    /** Read while nothing is sent. History and cache are full each time, so that only what waits differs. */
    const memory = async () => {
      await sleep(REST_MS)
      return await server.call<Memory>('memory')
    }
    await feed(WARM_UP_SECONDS)
    const before = await memory()
    await load.call('stall')
    const [waitingBytes] = await Promise.all([
      server.call<number>('watchBuffered', { ms: seconds * 1_000 }),
      feed(seconds),
    ])
    const stalled = await memory()
    feed(REST_SECONDS).catch(() => {}) // the server is stopped before the end
    await server.call('beginRound', {})
    const resynced = await load.call<Resynced>('readAgain')
    const { cpuMicros } = await server.call<Spent>('endRound')
    return {
      ...resynced,
      version,
      cpuMicros,
      waitingBytes,
      heldBytes: stalled.heldBytes - before.heldBytes,
      rssBytes: stalled.rssBytes - before.rssBytes,
    }
  } finally {
    await Promise.all([server.stop(), load.stop()])
  }
}
