import { constants, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Resolved } from '../../src/base/option-rules.ts'
import { COMPRESSION_DEFAULTS, type CompressionOptions } from '../../src/delivery/delivery-options.ts'
import { OutgoingMessage } from '../../src/delivery/outgoing-message.ts'
import { type SharedWindow, SharedWindows } from '../../src/delivery/shared-windows.ts'
import { isCompressedFrame, payloadOf } from '../../src/protocol/message-frame.ts'

const TAIL = Buffer.from([0, 0, 0xff, 0xff])

/**
 * A client that inflates with what it received compressed before, and nothing else. It inflates in small
 * pieces, since zlib notices a distance beyond the window only between them.
 */
class Reader {
  readonly #windowBits: number
  window: SharedWindow | undefined
  frame: Buffer = Buffer.alloc(0)
  #text: Buffer = Buffer.alloc(0)

  constructor(windowBits: number) {
    this.#windowBits = windowBits
  }

  read(frame: Buffer): string {
    this.frame = frame
    const payload = payloadOf(frame)
    if (!isCompressedFrame(frame)) return payload.toString()
    const text = inflateRawSync(Buffer.concat([payload, TAIL]), {
      finishFlush: constants.Z_SYNC_FLUSH,
      windowBits: this.#windowBits,
      chunkSize: 64,
      ...(this.#text.length > 0 && { dictionary: this.#text }),
    })
    this.#text = Buffer.concat([this.#text, text]).subarray(-32_768)
    return text.toString()
  }
}

type Settings = Resolved<CompressionOptions>

function setUp(options: Partial<Settings> = {}, maxBytes?: number) {
  const settings: Settings = { ...COMPRESSION_DEFAULTS, window: 'shared', ...options }
  const windows = new SharedWindows(settings, maxBytes)
  /** Sends a message, which all readers must have got, and returns how many different frames that took. */
  const send = (readers: readonly Reader[], data: string): number => {
    const message = new OutgoingMessage(data, settings)
    windows.begin(message, readers.length)
    const frames = new Set<Buffer>()
    for (const reader of readers) {
      if (!windows.isCurrent(message)) {
        expect(reader.read(message.plain)).toBe(data)
        continue
      }
      const { frame, next } = windows.frame(message, reader.window)
      expect(reader.read(frame)).toBe(data)
      expect(next === undefined).toBe(!isCompressedFrame(frame))
      frames.add(frame)
      if (next === undefined) continue
      windows.move(reader.window, next)
      reader.window = next
    }
    windows.end()
    return frames.size
  }
  const close = (readers: readonly Reader[]) => {
    for (const reader of readers) {
      windows.move(reader.window, undefined)
      reader.window = undefined
    }
  }
  return { windows, send, close }
}

const readers = (count: number, windowBits = 15) =>
  Array.from({ length: count }, () => new Reader(windowBits))

/** A message of a feed: of about 100 bytes, which differ little. */
const trade = (number: number) =>
  JSON.stringify({
    type: 'trade',
    symbol: ['BTC-USD', 'ETH-USD', 'SOL-USD'][number % 3],
    price: ((number * 7919) % 1e6) / 100,
    size: ((number * 104_729) % 1e5) / 1e3,
    at: 1.7e12 + number * 13,
  })

/** Bytes that do not shrink, of the same length for each number. */
const noise = (number: number, length: number) => {
  let state = number + 1
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return String.fromCharCode(33 + ((state >>> 25) % 94))
  }).join('')
}

describe('SharedWindows', () => {
  it('sends clients with the same window one frame, a third as long from the second message on', () => {
    const { send } = setUp()
    const all = readers(10)
    expect(send(all, trade(0))).toBe(1)
    for (let i = 1; i < 50; i++) expect(send(all, trade(i))).toBe(1)
    expect(all[0]?.frame.length).toBeLessThan(trade(50).length / 3)
  })

  it('refers to the last windowBytes of what was sent, to the byte', () => {
    for (const windowBytes of [512, 1_000, 4_096, 32_768]) {
      const { windows, send } = setUp({ windowBytes })
      const all = readers(4)
      for (let i = 0; i < 600; i++) send(all, trade(i))
      const sent = Array.from({ length: 600 }, (_, i) => trade(i)).join('')
      expect(all[0]?.window?.text?.toString()).toBe(sent.slice(-windowBytes))
      expect(windows.bits).toBe(Math.ceil(Math.log2(windowBytes)))
    }
  })

  it('refers to the whole window', () => {
    const { send } = setUp({ windowBytes: 2_048 })
    const all = readers(4)
    const first = noise(1, 200)
    send(all, first)
    for (let i = 0; i < 7; i++) send(all, noise(i + 2, 200))
    send(all, first)
    expect(all[0]?.frame.length).toBeLessThan(20)
  })

  it.each([2_048, 4_096])('refers back no further than a client with a window of %i bytes', (windowBytes) => {
    const { windows, send } = setUp({ windowBytes })
    const all = readers(4, windows.bits)
    const first = noise(1, windowBytes)
    send(all, first)
    // The repetition is of bytes in the dictionary, but too far back from its place.
    send(all, noise(2, windowBytes / 2) + first.slice(0, windowBytes / 2))
  })

  describe.each([
    { what: 'fewer than 16 bytes', data: 'x'.repeat(15), count: 4, isFit: false },
    { what: '16 bytes', data: 'x'.repeat(16), count: 4, isFit: true },
    { what: 'windowBytes', data: 'x'.repeat(4_096), count: 4, isFit: true },
    { what: 'more than windowBytes', data: 'x'.repeat(4_097), count: 4, isFit: false },
    { what: '100 bytes to three connections', data: 'x'.repeat(100), count: 3, isFit: false },
  ])('a message of $what', ({ data, count, isFit }) => {
    it(isFit ? 'is one for windows' : 'is none for windows', () => {
      const { windows } = setUp()
      const message = new OutgoingMessage(data, false)
      windows.begin(message, count)
      expect(windows.isCurrent(message)).toBe(isFit)
    })
  })

  it('has no current message once it has ended, or another has begun', () => {
    const { windows } = setUp()
    const first = new OutgoingMessage(trade(1), false)
    const second = new OutgoingMessage(trade(2), false)
    windows.begin(first, 10)
    windows.begin(second, 10)
    expect([windows.isCurrent(first), windows.isCurrent(second)]).toEqual([false, true])
    windows.begin(new OutgoingMessage('short', false), 10)
    expect(windows.isCurrent(second)).toBe(false)
    windows.begin(first, 10)
    windows.end()
    expect(windows.isCurrent(first)).toBe(false)
  })

  it('sends a message that its window does not make smaller plain, and keeps the window', () => {
    const { send } = setUp()
    const all = readers(5)
    send(all, noise(1, 300))
    const before = all[0]?.window
    expect(before).toBeDefined()
    send(all, noise(2, 20))
    const [reader] = all
    expect(reader && isCompressedFrame(reader.frame)).toBe(false)
    expect(reader?.window).toBe(before)
    send(all, noise(1, 300))
    expect(reader?.frame.length).toBeLessThan(20)
  })

  describe('when clients have different windows', () => {
    /** Groups of readers that have received different messages. */
    function groupsOf(sizes: readonly number[], options: Partial<Settings> = {}) {
      const made = setUp(options)
      const groups = sizes.map((size) => readers(size))
      for (const [i, group] of groups.entries()) {
        made.send(group, trade(100 * i)) // at least four
        for (let j = 1; j < 5; j++) made.send(group, trade(100 * i + j))
      }
      return { ...made, groups, all: groups.flat() }
    }

    it('compresses a message for each of three windows, and once for the rest', () => {
      const { send, all, groups } = groupsOf([4, 4, 4, 4, 4])
      expect(send(all, trade(1_000))).toBe(4)
      expect(groups.map((group) => group[0]?.frame.length)).toEqual([
        ...groups.slice(0, 3).map(() => expect.toSatisfy((length) => length < trade(0).length / 1.5)),
        groups[4]?.[0]?.frame.length,
        expect.toSatisfy((length) => length > trade(0).length / 1.5),
      ])
      expect(groups[3]?.[0]?.window).toBe(groups[4]?.[0]?.window)
    })

    it.each([2, 3, 5, 8])('compresses a message at most maxDeflates times: %i', (maxDeflates) => {
      const { send, all } = groupsOf([4, 4, 4, 4, 4, 4, 4], { maxDeflates })
      expect(send(all, trade(1_000))).toBe(Math.min(maxDeflates, 7))
      // The rest is first here, and takes nothing from the windows.
      const newcomers = readers(4)
      expect(send([...newcomers, ...all], trade(1_001))).toBe(Math.min(maxDeflates, 8))
    })

    it('compresses nothing for a window that less than an eighth of the receivers have', () => {
      const { send, all, groups } = groupsOf([4, 29])
      send(all, trade(1_000))
      const [few, many] = groups
      expect(few?.[0]?.frame.length).toBeGreaterThan(trade(0).length / 1.5)
      expect(few?.[0]?.window?.text?.toString()).toBe(trade(1_000))
      expect(many?.[0]?.frame.length).toBeLessThan(trade(0).length / 1.5)
    })

    it('compresses for a window that an eighth of the receivers have', () => {
      const { send, all, groups } = groupsOf([4, 28])
      send(all, trade(1_000))
      expect(groups[0]?.[0]?.frame.length).toBeLessThan(trade(0).length / 1.5)
    })

    it('makes one window of those whose text has become the same', () => {
      const { send, all } = groupsOf([10, 10])
      let messages = 1
      while (send(all, trade(1_000 + messages)) > 1) messages++
      expect(messages).toBeLessThan(4_096 / 70)
      expect(new Set(all.map(({ window }) => window)).size).toBe(1)
    })
  })

  describe('#move', () => {
    it('forgets a window that no client has, so that nothing is left without clients', () => {
      const { windows, send, close } = setUp()
      const [some, others] = [readers(6), readers(7)]
      for (let i = 0; i < 100; i++) {
        send(some, trade(i))
        send(i % 3 === 0 ? others : [...some, ...others], trade(i * 7))
        expect(windows.bytes).toBeLessThanOrEqual(4 * (4_096 + 512))
      }
      expect(windows.bytes).toBeGreaterThan(4_096)
      const held = some[0]?.window
      close(some)
      close(others)
      expect(windows.bytes).toBe(0)
      expect(held?.text).toBeUndefined()
      expect(held?.members).toBe(0)
    })

    it('forgets the windows that were not sent anything longest when all take too many bytes', () => {
      const most = 10 * (2_048 + 512)
      const { windows, send, close } = setUp({ windowBytes: 2_048 }, most)
      const rooms = Array.from({ length: 30 }, () => readers(4))
      for (const room of rooms) {
        for (let i = 0; i < 30; i++) send(room, trade(i))
        expect(windows.bytes).toBeLessThanOrEqual(most)
      }
      // While a message is sent, its room has two: the former one, and the one that follows.
      const kept = rooms.map((room) => room[0]?.window?.text !== undefined)
      expect(kept).toEqual([...Array(21).fill(false), ...Array(9).fill(true)])
      // Clients whose window is forgotten begin a new one.
      const [first = []] = rooms
      expect(send(first, trade(1_000))).toBe(1)
      expect(first[0]?.frame.length).toBeGreaterThan(trade(0).length / 1.5)
      expect(first[0]?.window?.text?.toString()).toBe(trade(1_000))
      for (const room of rooms) close(room)
      expect(windows.bytes).toBe(0)
    })

    it('stays right when a single window is larger than all may be', () => {
      const { windows, send } = setUp({}, 100)
      const all = readers(5)
      for (let i = 0; i < 20; i++) send(all, trade(i))
      expect(windows.bytes).toBe(0)
    })
  })
})
