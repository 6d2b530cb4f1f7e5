import { describe, expect, it } from 'vitest'
import { type HubOptions, memoryHistory, type SlowConsumerPolicy } from 'wshub'
import { eventually, type HubServer, serve, turn } from '../support/hub-server.ts'
import { InflatingClient } from '../support/inflating-client.ts'

const ROOM = 'trades'

const shared = (options: HubOptions): HubOptions => ({
  // Every trade is compressed by itself while its client is congested; no filler is.
  enableCompression: { window: 'shared', thresholdBytes: 64, maxBytes: 20_000 },
  ...options,
})

const trade = (number: number) =>
  JSON.stringify({
    type: 'trade',
    symbol: ['BTC', 'ETH'][number % 2],
    price: (number * 7919) % 1e6,
    at: number,
  })

const filler = (number: number) => `filler ${number} `.padEnd(60_000, '.')

/** Members of the room, the first of which is to stall. */
async function openMembers(served: HubServer, count = 5) {
  const members: InflatingClient[] = []
  for (let i = 0; i < count; i++) members.push(await InflatingClient.open(served))
  const [slow] = members
  if (slow === undefined) throw new Error('there are no members')
  return { members, slow }
}

/** Sends until more than `bytes` wait for a client that does not read, all in one turn. */
function flood(slow: InflatingClient, bytes: number, send: (number: number) => void): void {
  for (let i = 0; i < 2_000; i++) {
    send(i)
    if (slow.connection.bufferedBytes > bytes) return
  }
  throw new Error(`2,000 messages were taken, bufferedBytes is ${slow.connection.bufferedBytes}`)
}

async function drained({ connection }: InflatingClient): Promise<void> {
  await eventually(
    'the client to have read everything',
    () => connection.bufferedBytes === 0,
    () => connection.bufferedBytes,
  )
}

function isSubsequence(some: readonly string[], all: readonly string[]): boolean {
  let at = -1
  return some.every((text) => {
    at = all.indexOf(text, at + 1)
    return at >= 0
  })
}

describe('A shared window of a client that stalls', () => {
  const policies: readonly { slowConsumer: SlowConsumerPolicy; isVolatile?: boolean; drops: boolean }[] = [
    { slowConsumer: 'close', drops: false },
    { slowConsumer: 'close', isVolatile: true, drops: true },
    { slowConsumer: 'dropNewest', drops: true },
    { slowConsumer: 'dropOldest', drops: true },
    { slowConsumer: 'conflate', drops: true },
  ]

  it.each(policies)(
    'never refers to a message that was dropped: $slowConsumer, volatile: $isVolatile',
    async ({ slowConsumer, isVolatile = false, drops }) => {
      const served = await serve(shared({ slowConsumer, maxBufferedBytes: 1_000_000 }))
      const { hub } = served
      const { members, slow } = await openMembers(served)
      const sent: string[] = []
      const broadcast = (text: string, key?: string) => {
        sent.push(text)
        hub.broadcast(text, { volatile: isVolatile, ...(key !== undefined && { key }) })
      }
      let number = 0
      for (let i = 0; i < 30; i++) broadcast(trade(number++))
      await turn()
      // Messages of the turn in which the socket becomes congested: before and after that moment.
      slow.raw.socket.pause()
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 10; i++) broadcast(trade(number++))
        flood(slow, 100_000, (i) => slow.connection.sendText(filler(i)))
        for (let i = 0; i < 10; i++) broadcast(trade(number++), 'same')
        await turn()
      }
      if (drops) {
        await eventually(
          'messages to be dropped',
          () => {
            if (!isVolatile) slow.connection.sendText(filler(0), { key: `${number % 2}` })
            for (let i = 0; i < 10; i++) broadcast(trade(number++), `key ${i % 5}`)
            return slow.connection.dropped.messages > 200
          },
          () => slow.connection.dropped,
        )
      }
      for (let i = 0; i < 10; i++) broadcast(trade(number++))
      slow.raw.socket.resume()
      for (let i = 0; i < 10; i++) broadcast(trade(number++))
      await drained(slow)
      const behind = sent.length
      for (let i = 0; i < 100; i++) broadcast(trade(number++))
      hub.broadcast('the end')

      const [received = [], ...others] = await Promise.all(members.map((member) => member.upTo('the end')))
      for (const texts of others) expect(texts).toEqual(sent)
      const trades = received.filter((text) => !text.startsWith('filler'))
      expect(isSubsequence(trades, sent)).toBe(true)
      expect(trades.slice(-100)).toEqual(sent.slice(behind))
      expect(trades.length === sent.length).toBe(!drops)
      const last = slow.raw.frames.all.slice(-50, -1).map(({ payload }) => payload.length)
      expect(Math.max(...last)).toBeLessThan(trade(number).length / 1.5) // it is in a window again
    },
  )

  it('never refers to a message of a history that it is sent later', async () => {
    const history = { store: memoryHistory(), rooms: () => ({ maxMessages: 100_000 }) }
    const served = await serve(shared({ slowConsumer: 'resync', maxBufferedBytes: 65_536, history }))
    const { hub } = served
    const { members, slow } = await openMembers(served)
    for (const { connection } of members) await hub.resumeRoom(connection, ROOM)
    const sent: string[] = []
    const broadcast = (text: string) => {
      sent.push(text)
      hub.broadcastToRoom(ROOM, text)
    }
    let number = 0
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 30; i++) broadcast(trade(number++))
      await hub.publish(ROOM, trade(number))
      sent.push(trade(number++))
      slow.raw.socket.pause()
      await eventually(
        'the client to be sent everything later',
        () => {
          broadcast(filler(number))
          for (let i = 0; i < 20; i++) broadcast(trade(number++))
          return (hub.stats().history?.resynced ?? 0) > round
        },
        () => hub.stats().history,
      )
      slow.raw.socket.resume()
      for (let i = 0; i < 500; i++) {
        broadcast(trade(number++)) // while it catches up, and when it is live
        if (i % 10 === 0) await turn()
      }
    }
    // A newcomer is sent what it missed, and then shares a window.
    const newcomer = await InflatingClient.open(served)
    await hub.resumeRoom(newcomer.connection, ROOM, { last: 200 })
    for (let i = 0; i < 100; i++) broadcast(trade(number++))
    await hub.publish(ROOM, 'the end')
    for (const member of members) expect(await member.upTo('the end')).toEqual(sent)
    expect(await newcomer.upTo('the end')).toEqual(sent.slice(-300))
  })
})
