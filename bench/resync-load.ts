// The load process of the scenario `resync`: two clients of a room. One reads. The other stops for a time.
// A message that is missing or out of place fails the current call.

import { RawClient } from './raw-client.ts'
import { answerCalls } from './servers/answer-calls.mjs'
import { nowMicros, readHeader } from './servers/payload.mjs'

/** A client is live again when it gets a message that was sent less than so many ms before. */
const LIVE_MS = 100
const READER = 0
const STALLED = 1

const clients: RawClient[] = []
/** The number that is due next; `undefined` before the first message. */
const due: (number | undefined)[] = []
let latenciesMs: number[] = []
let onStalledMessage = (_lagMs: number) => {}

/** How a client that had stalled became live. */
export interface Resynced {
  /** From reading again until it was live. */
  liveMs: number
  /** The number of messages that it got until then. */
  messages: number
  /** The CPU time of this process until then. */
  clientMicros: number
  /** The latency of the client that always reads. */
  p50Ms: number
  p99Ms: number
}

const listener = {
  onMessage({ index }: RawClient, bytes: Buffer, start: number, end: number) {
    const text = bytes.toString('latin1', start, end)
    if (text.startsWith('!at ')) return
    const { number, sentMicros } = readHeader(text.slice(text.indexOf(' ') + 1))
    const expected = due[index] ?? number
    if (number !== expected) fail(`client ${index}: ${expected} was due, and this came: ${text.slice(0, 60)}`)
    due[index] = number + 1
    const lagMs = (nowMicros() - sentMicros) / 1_000
    if (index === READER) latenciesMs.push(lagMs)
    else if (index === STALLED) onStalledMessage(lagMs)
  },
  onPing() {},
  onFailure({ index }: RawClient, reason: string) {
    fail(`client ${index}: ${reason}`)
  },
}

const calls = {
  async connect({ port }: { port: number }): Promise<void> {
    for (const index of [READER, STALLED]) {
      const client = new RawClient(index, { port, path: '/', dialect: 'plain', compression: false }, listener)
      clients[index] = client
      await client.opened
    }
  },

  stall(): void {
    clients[STALLED]?.stall()
    latenciesMs = []
  },

  /** Resolves when the client that had stalled is live. */
  readAgain(): Promise<Resynced> {
    const sorted = latenciesMs.sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
    const start = performance.now()
    const cpu = process.cpuUsage()
    let messages = 0
    const live = new Promise<Resynced>((resolve) => {
      onStalledMessage = (lagMs) => {
        messages++
        if (lagMs > LIVE_MS) return
        onStalledMessage = () => {}
        const { user, system } = process.cpuUsage(cpu)
        const liveMs = performance.now() - start
        resolve({ liveMs, messages, clientMicros: user + system, p50Ms: at(0.5), p99Ms: at(0.99) })
      }
    })
    clients[STALLED]?.readAgain()
    return live
  },
}

function fail(reason: string): void {
  process.stderr.write(`${reason}\n`)
  process.exit(1)
}

answerCalls(calls)
