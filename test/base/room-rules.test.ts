import { describe, expect, it } from 'vitest'
import { RoomRules } from '../../src/base/room-rules.ts'
import { thrownBy } from '../support/hub-server.ts'

describe('RoomRules', () => {
  it('asks once for each room, also where there is no rule', () => {
    const asked: string[] = []
    const ask = (room: string) => {
      asked.push(room)
      return room === 'a' ? 1 : undefined
    }
    const rules = new RoomRules('some.rooms', ask, (answer) => answer)
    expect(['a', 'b', 'a', 'b'].map((room) => rules.of(room))).toEqual([1, undefined, 1, undefined])
    expect(asked).toEqual(['a', 'b'])
  })

  it('throws what failed as the cause, and asks again the next time', () => {
    const failure = new Error('no')
    let isFailing = true
    const ask = () => {
      if (isFailing) throw failure
      return 7
    }
    const rules = new RoomRules('some.rooms', ask, (answer) => answer)
    expect(thrownBy(() => rules.of('a'))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: 'some.rooms failed for the room "a"',
      cause: failure,
    })
    isFailing = false
    expect(rules.of('a')).toBe(7)
  })

  it('forgets the oldest rooms beyond its limit, and none in the turn in which they are asked for', async () => {
    let asked = 0
    const rules = new RoomRules(
      'some.rooms',
      () => ++asked,
      (answer) => answer,
    )
    const most = 25_000
    for (let pass = 0; pass < 2; pass++) for (let room = 1; room <= most; room++) rules.of(`${room}`)
    expect(asked).toBe(most)
    await Promise.resolve()
    expect(rules.of(`${most}`)).toBe(most)
    expect(rules.of(`${most - 9_800}`)).toBe(most - 9_800)
    expect(rules.of(`${most - 10_000}`)).toBe(most + 1)
  })
})
