import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Backlog, type Held } from '../../src/delivery/backlog.ts'
import { HeldBuffers } from '../../src/delivery/held-buffers.ts'

const EVERYTHING = Number.MAX_SAFE_INTEGER

/** The bytes whose write congested the socket. */
const FIRST = Buffer.alloc(20)

function empty(turn = 0, socketBytes = 0, buffers = new HeldBuffers()): Backlog {
  return new Backlog(turn, FIRST, socketBytes, buffers)
}

function filled(...texts: string[]): Backlog {
  const backlog = empty()
  for (const text of texts) push(backlog, text)
  return backlog
}

/** `P…` is a ping, `k=…` has the key `k`, anything else is a message without one. */
function push(backlog: Backlog, text: string): void {
  const key = text.includes('=') ? text.slice(0, text.indexOf('=')) : undefined
  backlog.push(held(text, text.startsWith('P') ? 0 : 1, key))
}

function held(text: string, messages: number, key?: string): Held {
  const bytes = Buffer.from(text)
  return { bytes, messages, controlBytes: messages === 0 ? bytes.length : 0, key }
}

const counts = ({ bytes, messages, controlBytes, isEmpty }: Backlog) => ({
  bytes,
  messages,
  controlBytes,
  isEmpty,
})

describe('Backlog', () => {
  it('begins with the bytes that the socket holds', () => {
    const backlog = empty(7, 20)
    expect(backlog).toMatchObject({
      turn: 7,
      writtenBytes: 20,
      leastBytes: Number.POSITIVE_INFINITY,
      judgedBytes: undefined,
    })
    expect(counts(backlog)).toEqual({ bytes: 0, messages: 0, controlBytes: 0, isEmpty: true })
  })

  it('counts bytes, messages and bytes of control frames', () => {
    const backlog = filled('one', 'P', 'k=2')
    expect(counts(backlog)).toEqual({ bytes: 7, messages: 2, controlBytes: 1, isEmpty: false })
    backlog.push({ ...held('three and a ping', 3), controlBytes: 4 })
    expect(counts(backlog)).toEqual({ bytes: 23, messages: 5, controlBytes: 5, isEmpty: false })
    backlog.take(EVERYTHING)
    expect(counts(backlog)).toEqual({ bytes: 0, messages: 0, controlBytes: 0, isEmpty: true })
  })

  describe('#take', () => {
    it('returns frames of up to maxBytes, but at least one', () => {
      const backlog = filled('aaaa', 'bb', 'cc', 'd')
      expect(backlog.take(3).toString()).toBe('aaaa')
      expect(backlog.take(4).toString()).toBe('bbcc')
      expect(backlog.take(4).toString()).toBe('d')
      expect(backlog.take(4)).toHaveLength(0)
    })

    it('returns a single frame without a copy', () => {
      const frame = held('frame', 1)
      const backlog = empty()
      backlog.push(frame)
      expect(backlog.take(100)).toBe(frame.bytes)
    })

    it('counts its frames as written', () => {
      const backlog = empty(0, 20)
      push(backlog, 'aaaa')
      push(backlog, 'k=1')
      push(backlog, 'bb')
      backlog.dropKey('k')
      backlog.take(4)
      expect(backlog.writtenBytes).toBe(24)
      backlog.take(EVERYTHING)
      expect(backlog.writtenBytes).toBe(26)
    })

    it('forgets the keys of its frames', () => {
      const backlog = filled('k=1', 'x')
      expect(backlog.take(3).toString()).toBe('k=1')
      expect(backlog.dropKey('k')).toBeUndefined()
      expect(backlog.take(EVERYTHING).toString()).toBe('x')
    })
  })

  describe('#dropOldest', () => {
    it('removes messages, the oldest first, and no control frame', () => {
      const backlog = filled('P1', 'a', 'P2', 'P3', 'b', 'c', 'P4')
      expect(backlog.dropOldest()?.bytes.toString()).toBe('a')
      expect(backlog.dropOldest()?.bytes.toString()).toBe('b')
      expect(counts(backlog)).toEqual({ bytes: 9, messages: 1, controlBytes: 8, isEmpty: false })
      push(backlog, 'd')
      expect(backlog.take(EVERYTHING).toString()).toBe('P1P2P3cP4d')
    })

    it('returns undefined when only control frames wait', () => {
      const backlog = filled('P1', 'P2')
      expect(backlog.dropOldest()).toBeUndefined()
      expect(backlog.dropOldest()).toBeUndefined()
      expect(backlog.take(EVERYTHING).toString()).toBe('P1P2')
      expect(empty().dropOldest()).toBeUndefined()
    })

    it('forgets the key of the message', () => {
      const backlog = filled('k=1', 'x')
      backlog.dropOldest()
      expect(backlog.dropKey('k')).toBeUndefined()
      expect(backlog.messages).toBe(1)
    })
  })

  describe('#dropKey', () => {
    it('removes the message of the key and keeps the order of the others', () => {
      const backlog = filled('a=1', 'x', 'b=1', 'P', 'y')
      expect(backlog.dropKey('b')?.bytes.toString()).toBe('b=1')
      expect(backlog.dropKey('b')).toBeUndefined()
      expect(backlog.dropKey('none')).toBeUndefined()
      push(backlog, 'b=2')
      expect(backlog.dropKey('a')?.bytes.toString()).toBe('a=1')
      expect(counts(backlog)).toEqual({ bytes: 6, messages: 3, controlBytes: 1, isEmpty: false })
      expect(backlog.take(EVERYTHING).toString()).toBe('xPyb=2')
    })

    it('leaves an empty backlog when every message is removed', () => {
      const backlog = filled('a=1', 'b=1')
      backlog.dropKey('b')
      backlog.dropKey('a')
      expect(counts(backlog)).toEqual({ bytes: 0, messages: 0, controlBytes: 0, isEmpty: true })
      expect(backlog.dropOldest()).toBeUndefined()
      expect(backlog.take(EVERYTHING)).toHaveLength(0)
    })

    it('finds a message after 20,000 others were replaced', () => {
      const backlog = filled('kept=1', 'x')
      for (let i = 0; i < 20_000; i++) {
        backlog.dropKey('k')
        push(backlog, `k=${i}`)
      }
      expect(backlog.messages).toBe(3)
      expect(backlog.dropKey('kept')?.bytes.toString()).toBe('kept=1')
      expect(backlog.take(EVERYTHING).toString()).toBe('xk=19999')
    })
  })

  describe('#dispose', () => {
    it('releases each buffer that waits, and the last one written to the socket', () => {
      const buffers = new HeldBuffers()
      const backlog = empty(0, 0, buffers)
      expect(buffers.bytes).toBe(20)
      for (const text of ['P1', 'aaa', 'P2', 'k=1', 'bbbb', 'cc']) push(backlog, text)
      expect(buffers.bytes).toBe(20 + 16)
      backlog.dropOldest()
      backlog.dropKey('k')
      expect(buffers.bytes).toBe(20 + 10)
      backlog.take(5) // P1, P2: the socket has them in place of what it had
      expect(buffers.bytes).toBe(10)
      backlog.take(4)
      expect(buffers.bytes).toBe(6)
      backlog.dispose()
      expect(buffers.bytes).toBe(0)
      expect(counts(backlog)).toEqual({ bytes: 0, messages: 0, controlBytes: 0, isEmpty: true })
      expect(backlog.dropOldest()).toBeUndefined()
      expect(backlog.take(EVERYTHING)).toHaveLength(0)
    })
  })

  it('behaves like an array for any sequence of calls', () => {
    const key = fc.constantFrom('a', 'b', 'c')
    const call = fc.oneof(
      { weight: 4, arbitrary: fc.record({ call: fc.constant('message' as const), size: fc.nat(9) }) },
      { weight: 2, arbitrary: fc.record({ call: fc.constant('control' as const), size: fc.nat(9) }) },
      { weight: 6, arbitrary: fc.record({ call: fc.constant('keyed' as const), size: fc.nat(9), key }) },
      { weight: 1, arbitrary: fc.record({ call: fc.constant('dropKey' as const), key }) },
      { weight: 1, arbitrary: fc.record({ call: fc.constant('dropOldest' as const) }) },
      { weight: 1, arbitrary: fc.record({ call: fc.constant('take' as const), maxBytes: fc.nat(30) }) },
    )
    // Some are long: the queue is packed when more than 64 frames were removed.
    const calls = fc.oneof(
      fc.array(call, { maxLength: 30, size: 'max' }),
      fc.array(call, { minLength: 300, maxLength: 500 }),
    )
    fc.assert(
      fc.property(calls, (sequence) => {
        const backlog = empty()
        const model: Held[] = []
        let count = 0
        const push = (size: number, messages: number, key?: string) => {
          const pushed = held(`${count++}`.padEnd(2 + size, '.'), messages, key)
          backlog.push(pushed)
          model.push(pushed)
        }
        // `expect` for each step would take most of the time of this test.
        const same = (actual: unknown, expected: unknown) => {
          if (actual !== expected) expect(actual).toBe(expected)
        }
        const drop = (place: number) => (place < 0 ? undefined : model.splice(place, 1)[0])
        const dropKey = (key: string) => {
          same(backlog.dropKey(key), drop(model.findIndex((other) => other.key === key)))
        }
        for (const step of sequence) {
          if (step.call === 'message') {
            push(step.size, 1)
          } else if (step.call === 'control') {
            push(step.size, 0)
          } else if (step.call === 'keyed') {
            dropKey(step.key)
            push(step.size, 1, step.key)
          } else if (step.call === 'dropKey') {
            dropKey(step.key)
          } else if (step.call === 'dropOldest') {
            same(backlog.dropOldest(), drop(model.findIndex(({ messages }) => messages > 0)))
          } else {
            const parts = model.splice(0, 1).map(({ bytes }) => bytes)
            for (
              let bytes = parts[0]?.length ?? 0;
              model[0] !== undefined;
              bytes += parts.at(-1)?.length ?? 0
            ) {
              if (bytes + model[0].bytes.length > step.maxBytes) break
              parts.push(...model.splice(0, 1).map(({ bytes }) => bytes))
            }
            same(String(backlog.take(step.maxBytes)), String(Buffer.concat(parts)))
          }
          const sum = (size: (held: Held) => number) => model.reduce((total, held) => total + size(held), 0)
          same(
            backlog.bytes,
            sum(({ bytes }) => bytes.length),
          )
          same(
            backlog.messages,
            sum(({ messages }) => messages),
          )
          same(
            backlog.controlBytes,
            sum(({ controlBytes }) => controlBytes),
          )
          same(backlog.isEmpty, model.length === 0)
        }
        expect(backlog.take(EVERYTHING)).toEqual(Buffer.concat(model.map(({ bytes }) => bytes)))
      }),
      { numRuns: 60 },
    )
  })
})
