import { describe, expect, it } from 'vitest'
import { Delivery } from '../../src/delivery/delivery.ts'

const make = () =>
  new Delivery({
    maxBufferedBytes: 100,
    maxTotalBufferedBytes: 1_000,
    slowConsumer: 'close',
    writeDelayMs: 0,
    enableCompression: false,
  })

describe('Delivery', () => {
  it('has the limit and the policy of its options', () => {
    expect(make()).toMatchObject({ maxBufferedBytes: 100, slowConsumer: 'close' })
  })

  it('begins with no drops, and counts each reason by itself', () => {
    const { dropped } = make()
    const none = { messages: 0, bytes: 0 }
    expect(dropped).toEqual({
      dropNewest: none,
      dropOldest: none,
      conflate: none,
      resync: none,
      volatile: none,
      overflow: none,
      closed: none,
    })
    dropped.closed.messages++
    expect(Object.values(dropped).filter(({ messages }) => messages > 0)).toHaveLength(1)
    expect(make().dropped.closed.messages).toBe(0)
  })
})
