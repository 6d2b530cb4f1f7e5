import { describe, expect, it } from 'vitest'
import { COMPRESSION_DEFAULTS } from '../../src/delivery/delivery-options.ts'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { type SharedWindow, SharedWindows } from '../../src/delivery/shared-windows.ts'

// A simulation of room traffic, for the rule by which windows are brought together. docs/options.md has the
// table.

const MESSAGES = 400
const settings = { ...COMPRESSION_DEFAULTS, thresholdBytes: 0, window: 'shared' } as const

const WORDS =
  'the quick brown fox jumps over lazy dog please send me your report before tomorrow morning thanks hello everyone meeting is moved to room seven at noon'.split(
    ' ',
  )

interface Client {
  window: SharedWindow | undefined
}

/** Returns numbers from 0 to below 1, the same in each run. */
function seeded(): () => number {
  let state = 12_345
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function chat(random: () => number, room: number): string {
  const count = 5 + Math.floor(random() * 12)
  const text = Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)]).join(' ')
  const from = `user-${Math.floor(random() * 200)}`
  return JSON.stringify({
    type: 'message',
    room: `room-${room}`,
    from,
    at: 1.7e12 + Math.floor(random() * 1e9),
    text,
  })
}

interface Sent {
  readonly room: number
  readonly members: readonly Client[]
}

interface Traffic {
  readonly what: string
  /** Returns a function that returns the room of the next message and its members. */
  start(random: () => number, leave: (client: Client) => void): () => Sent
  /** Bytes over those of messages compressed by themselves. */
  readonly maxRatio: number
  readonly maxDeflates: number
}

const clients = (count: number): Client[] => Array.from({ length: count }, () => ({ window: undefined }))

/** Clients in `each` of `count` rooms; some rooms are larger than others. */
function inRooms(of: number, each: number, count: number): Traffic['start'] {
  return (random) => {
    const rooms = Array.from({ length: count }, (): Client[] => [])
    for (const client of clients(of)) {
      const own = new Set<number>()
      while (own.size < each) own.add(Math.floor(random() * random() * count))
      for (const room of own) rooms[room]?.push(client)
    }
    return () => {
      const room = Math.floor(random() * count)
      return { room, members: rooms[room] ?? [] }
    }
  }
}

/** One room, of which members are replaced by newcomers. */
function withNewcomers(of: number, perMessage: number): Traffic['start'] {
  return (random, leave) => {
    const members = clients(of)
    let due = 0
    return () => {
      for (due += perMessage; due >= 1; due--) {
        const place = Math.floor(random() * of)
        for (const gone of members.splice(place, 1, { window: undefined })) leave(gone)
      }
      return { room: 0, members }
    }
  }
}

const TRAFFIC: readonly Traffic[] = [
  { what: '300 clients in one room', start: inRooms(300, 1, 1), maxRatio: 0.37, maxDeflates: 1 },
  { what: '300 clients, each in one of 5 rooms', start: inRooms(300, 1, 5), maxRatio: 0.4, maxDeflates: 1 },
  { what: '300 clients, each in 3 of 5 rooms', start: inRooms(300, 3, 5), maxRatio: 0.46, maxDeflates: 3.4 },
  { what: '300 clients, each in 3 of 30 rooms', start: inRooms(300, 3, 30), maxRatio: 0.85, maxDeflates: 4 },
  {
    what: 'one room of 300, a newcomer every 5 messages',
    start: withNewcomers(300, 0.2),
    maxRatio: 0.41,
    maxDeflates: 2.2,
  },
  {
    what: 'one room of 300, a newcomer with each message',
    start: withNewcomers(300, 1),
    maxRatio: 0.44,
    maxDeflates: 3,
  },
  {
    what: 'one room of 300, of which each message leaves one out',
    start: (random) => {
      const all = clients(300)
      return () => ({ room: 0, members: all.toSpliced(Math.floor(random() * all.length), 1) })
    },
    maxRatio: 0.44,
    maxDeflates: 3,
  },
  {
    what: 'half of the messages to all 300, the others to one of 10 rooms',
    start: (random) => {
      const all = clients(300)
      return () => {
        const room = Math.floor(random() * 10)
        const isForAll = random() < 0.5
        return { room, members: isForAll ? all : all.filter((_, i) => i % 10 === room) }
      }
    },
    maxRatio: 0.6,
    maxDeflates: 2.4,
  },
]

function simulate({ start }: Traffic): { ratio: number; deflates: number } {
  const random = seeded()
  const windows = new SharedWindows(settings)
  const next = start(random, ({ window }) => windows.move(window, undefined))
  const sum = { alone: 0, shared: 0, messages: 0, deflates: 0 }
  for (let i = 0; i < MESSAGES; i++) {
    const { room, members } = next()
    const message = new OutgoingMessage(chat(random, room), settings)
    windows.begin(message, members.length)
    if (!windows.isCurrent(message)) continue
    const frames = new Set<Buffer>()
    for (const client of members) {
      const { frame, next: window } = windows.frame(message, client.window)
      frames.add(frame)
      sum.shared += frame.length
      if (window === undefined) continue
      windows.move(client.window, window)
      client.window = window
    }
    windows.end()
    sum.alone += message.frame(15).length * members.length
    sum.messages++
    sum.deflates += frames.size
  }
  return { ratio: sum.shared / sum.alone, deflates: sum.deflates / sum.messages }
}

describe('Shared windows in simulated traffic', () => {
  it.each(TRAFFIC)('need few bytes and few deflates: $what', (traffic) => {
    const { ratio, deflates } = simulate(traffic)
    expect(ratio).toBeLessThanOrEqual(traffic.maxRatio)
    expect(deflates).toBeLessThanOrEqual(traffic.maxDeflates)
  })
})
