import { describe, expect, it } from 'vitest'
import { readRoomHistory } from '../../src/history/history-options.ts'
import { thrownBy } from '../support/hub-server.ts'
import { serveHistory } from './support.ts'

describe('history.rooms', () => {
  it.each<[returned: unknown, message: string]>([
    [null, 'history.rooms("tea") is an object or undefined, not null'],
    [false, 'history.rooms("tea") is an object or undefined, not false'],
    ['yes', 'history.rooms("tea") is an object or undefined, not "yes"'],
    [{ maxMessages: 0 }, 'history.rooms("tea").maxMessages is an integer from 1 to 2147483647, not 0'],
    [{ maxAgeMs: 1.5 }, 'history.rooms("tea").maxAgeMs is an integer from 1 to 2147483647, not 1.5'],
  ])('that returns %j is refused by a join, with the room', async (returned, message) => {
    const { hub, connect } = await serveHistory({
      rooms: (room) => (room === 'tea' ? (returned as object) : undefined),
    })
    const { connection } = await connect()
    expect(thrownBy(() => hub.joinRoom(connection, 'tea'))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message,
    })
  })

  it('that returns undefined gives a room no history', () => {
    expect(readRoomHistory(undefined, 'tea')).toBeUndefined()
  })
})
