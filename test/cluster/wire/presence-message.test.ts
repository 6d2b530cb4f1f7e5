import { describe, expect, it } from 'vitest'
import { encodeEnvelope, openEnvelope, readBody } from '../../../src/cluster/wire/envelope.ts'
import type { PresenceMessage } from '../../../src/cluster/wire/presence-message.ts'
import { thrownBy } from '../../support/hub-server.ts'

const stamp = { node: 'node', epoch: 1, sequence: 1 }
const counts = { version: 300, users: 2, anonymous: 70_000, isListed: true }
const members = [
  { user: 'ann', connections: 2, stamp: 1_800_000_000_000, info: '{"name":"Ann"}' },
  { user: '\ud800é𝕏', connections: 1, stamp: 3, info: undefined },
  { user: 'gone', connections: 0, stamp: 0, info: undefined },
  { user: 'bare', connections: 1, stamp: 1, info: '' },
]

const MESSAGES: readonly PresenceMessage[] = [
  { op: 'delta', delta: { base: 0, ...counts, members } },
  { op: 'delta', delta: { base: 299, ...counts, isListed: false, members: [] } },
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

  it('takes less than 30 bytes for a user with a short id and name', () => {
    const users = Array.from({ length: 100 }, (_, index) => `user-${1_000 + index}`)
    const states = users.map((user) => ({ user, connections: 1, stamp: 1, info: '{"name":"Ann"}' }))
    const delta = { base: 0, version: 1, users: 100, anonymous: 0, isListed: true, members: states }
    expect(written({ op: 'delta', delta }).length / users.length).toBeLessThan(30)
  })
})
