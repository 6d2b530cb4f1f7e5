import { describe, expect, it } from 'vitest'
import { encodeEnvelope, openEnvelope, readBody } from '../../../src/cluster/wire/envelope.ts'
import { MAX_STAMP, type PresenceMessage } from '../../../src/cluster/wire/presence-message.ts'
import { thrownBy } from '../../support/hub-server.ts'

const stamp = { node: 'node', epoch: 1, sequence: 1 }
const counts = { version: 300, users: 2, anonymous: 70_000, isListed: true }
const members = [
  { user: 'ann', connections: 2, stamp: 1_800_000_000_000, info: '{"name":"Ann"}' },
  { user: '\ud800é𝕏', connections: 1, stamp: 3, info: undefined },
  { user: 'gone', connections: 0, stamp: 0, info: undefined },
  { user: 'bare', connections: 1, stamp: 1, info: '' },
]

const alike = ['u', 'u1', 'u12', 'u', 'u\u{1F600}', 'u\u{1F601}', 'v', 'vé', 'véx', 've'].map((user) => {
  return { user, connections: 1, stamp: 1_800_000_000_000, info: '' }
})

const timed = [MAX_STAMP, 0, 1_800_000_000_000, 1_799_999_999_999, MAX_STAMP].map((at, index) => {
  return { user: `u${index}`, connections: 1, stamp: at, info: undefined }
})

const MESSAGES: readonly PresenceMessage[] = [
  { op: 'delta', delta: { base: 0, ...counts, members } },
  { op: 'delta', delta: { base: 299, ...counts, isListed: false, members: [] } },
  { op: 'delta', delta: { base: 299, ...counts, members: timed } },
  { op: 'delta', delta: { base: 299, ...counts, members: alike } },
  { op: 'ask', id: 5, isFull: true, rooms: [{ room: 'a', version: 7, isEmpty: false }] },
  { op: 'ask', id: 2 ** 40, isFull: false, rooms: [{ room: '\udfff', version: 0, isEmpty: true }] },
  {
    op: 'answer',
    id: 1,
    clock: 2 ** 50,
    part: 3,
    isLast: true,
    rooms: [
      { room: 'a', isFirst: true, isLast: false, isBrief: false, ...counts, members },
      { room: 'b', isFirst: false, isLast: true, isBrief: true, ...counts, members: [] },
    ],
  },
  { op: 'digest', rooms: [{ hash: 2 ** 48 - 1, version: 12 }] },
]

function written(message: PresenceMessage): Buffer {
  return encodeEnvelope(stamp, { kind: 'presence', message })
}

describe('A message about presence', () => {
  it.each(MESSAGES)('is read as it was written: $op', (message) => {
    expect(readBody(openEnvelope(written(message)))).toEqual({ kind: 'presence', message })
  })

  it.each(MESSAGES)('is malformed when any of its end is missing: $op', (message) => {
    const bytes = written(message)
    for (let length = bytes.length - 1; length > 9; length--) {
      const error = thrownBy(() => readBody(openEnvelope(bytes.subarray(0, length))))
      expect(error).toMatchObject({ code: 'WSHUB_ERR_ENVELOPE' })
    }
  })

  it('is of an unknown version when its kind is one of a later version', () => {
    const bytes = written({ op: 'digest', rooms: [] })
    bytes[bytes.length - 2] = 200
    expect(thrownBy(() => readBody(openEnvelope(bytes)))).toMatchObject({
      code: 'WSHUB_ERR_ENVELOPE_VERSION',
    })
  })

  it('is malformed without the name of a user, or of a room', () => {
    const nameless = {
      ...counts,
      base: 0,
      members: [{ user: '', connections: 0, stamp: 0, info: undefined }],
    }
    for (const message of [
      { op: 'delta', delta: nameless },
      { op: 'ask', id: 1, isFull: true, rooms: [{ room: '', version: 1, isEmpty: false }] },
    ] satisfies PresenceMessage[]) {
      expect(thrownBy(() => readBody(openEnvelope(written(message))))).toMatchObject({
        code: 'WSHUB_ERR_ENVELOPE',
      })
    }
  })

  it('is malformed with a stamp that is below 0, or far in the future', () => {
    const of = (...stamps: number[]) => {
      const states = stamps.map((at) => ({ user: 'ann', connections: 1, stamp: at, info: undefined }))
      return written({ op: 'delta', delta: { base: 0, ...counts, members: states } })
    }
    expect(readBody(openEnvelope(of(5, 0)))).toBeDefined()
    for (const stamps of [[5, -1], [MAX_STAMP + 1], [5, MAX_STAMP + 1]]) {
      expect(thrownBy(() => readBody(openEnvelope(of(...stamps))))).toMatchObject({
        code: 'WSHUB_ERR_ENVELOPE',
      })
    }
  })

  it('is malformed when a user shares more with the previous one than that has', () => {
    const of = (user: string) => ({ user, connections: 0, stamp: 0, info: undefined })
    const bytes = written({ op: 'delta', delta: { base: 0, ...counts, members: [of('ann'), of('anne')] } })
    const sharedAt = bytes.length - 4 // then the length of the end, `e`, and 0 connections
    expect(bytes[sharedAt]).toBe(3)
    bytes[sharedAt] = 4
    expect(thrownBy(() => readBody(openEnvelope(bytes)))).toMatchObject({ code: 'WSHUB_ERR_ENVELOPE' })
  })

  it('takes 6 bytes for one of many users who come at about the same time, and the end of the id', () => {
    const bytes = (count: number) => {
      const states = Array.from({ length: count }, (_, index) => {
        const at = 1_800_000_000_000 + (index % 10)
        return { user: `user-${1_000 + index}`, connections: 1, stamp: at, info: '' }
      })
      const delta = { base: 1, version: 1, users: 100, anonymous: 0, isListed: true, members: states }
      return written({ op: 'delta', delta }).length
    }
    // Of ten users one has three digits of its own, or two, and the others have one.
    expect((bytes(101) - bytes(1)) / 100).toBeLessThan(6.2)
  })
})
