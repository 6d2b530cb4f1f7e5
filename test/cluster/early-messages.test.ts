import { expect, it } from 'vitest'
import { EarlyMessages } from '../../src/cluster/early-messages.ts'
import { Sequences } from '../../src/cluster/sequences.ts'
import { ChannelNames } from '../../src/cluster/wire/channel-names.ts'

const channel = new Sequences(new ChannelNames('app')).room('tea')
const message = (sequence: number, length: number) => ({ channel, sequence, bytes: Buffer.alloc(length) })

it('EarlyMessages accepts what fits, with 256 bytes for each, and returns all in order', () => {
  const early = new EarlyMessages(1_000)
  expect(early.take()).toEqual([])
  const accepted = [message(1, 200), message(2, 300), message(3, 288)].map((each) => early.add(each))
  expect([accepted, early.size]).toEqual([[true, false, true], 2])
  expect(early.add(message(4, 0))).toBe(false)
  expect(early.take().map(({ sequence }) => sequence)).toEqual([1, 3])
  expect(early.size).toBe(0)
  expect(early.add(message(5, 744))).toBe(true)
})
