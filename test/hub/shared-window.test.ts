import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ClientOptions } from 'ws'
import type { Connection, HubOptions } from 'wshub'
import { Bus } from '../support/bus.ts'
import { acquainted, join } from '../support/cluster.ts'
import { type HubServer, serve, turn } from '../support/hub-server.ts'
import { InflatingClient } from '../support/inflating-client.ts'

const shared: HubOptions = { enableCompression: { window: 'shared' } }

/** Clients as they come: with windows of all sizes, without a context, and without compression. */
const CLIENTS: readonly (string | ClientOptions)[] = [
  '',
  '',
  '; server_max_window_bits=12',
  '; server_max_window_bits=11',
  '; server_max_window_bits=8',
  '; server_no_context_takeover',
  { perMessageDeflate: true },
  { perMessageDeflate: true },
  { perMessageDeflate: { serverMaxWindowBits: 12 } },
  { perMessageDeflate: { serverMaxWindowBits: 9 } },
  { perMessageDeflate: { serverNoContextTakeover: true } },
  { perMessageDeflate: false },
]
const ROOMS = ['a', 'b', 'c', 'd']

interface Member {
  readonly connection: Connection
  /** The texts before a marker. */
  upTo(marker: string): Promise<string[]>
  /** Resolves when it has been closed, because of what it received. */
  ended(): Promise<unknown>
  close(): Promise<unknown>
  readonly expected: string[]
  isGone: boolean
}

const client = fc.nat(CLIENTS.length - 1)
const room = fc.constantFrom(...ROOMS)
const text = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(room, fc.nat(9), fc.nat(1e6)).map((parts) => JSON.stringify(feed(...parts))),
  },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(9), fc.integer({ min: 500, max: 9_000 }))
      .map(([of, length]) => repeated(of, length)),
  },
)
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('broadcast' as const), text }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('room' as const),
      room,
      text,
      except: fc.option(client),
      volatile: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('direct' as const), client, text }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const), client, room }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), client, room }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('newcomer' as const), client }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), client }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
)

function feed(name: string, user: number, price: number) {
  return {
    type: 'trade',
    symbol: name.repeat(3),
    user: `user-${user}`,
    price: price / 100,
    isFinal: price % 2 === 0,
  }
}

function repeated(of: number, length: number): string {
  return Array.from({ length: length / 10 }, (_, i) => `${(i * 7919 + of) % 997} words `).join('')
}

describe('A shared window', () => {
  it('brings every client what was sent to it, whatever is sent, to whom, and whoever comes and goes', async () => {
    const served = await serve(shared)
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
        const members: Member[] = []
        for (const i of CLIENTS.keys()) members.push(await open(served, i))
        for (const each of steps) await take(served, members, each)
        served.hub.broadcast('the end')
        const present = members.filter(({ isGone }) => !isGone)
        for (const { upTo, ended, expected } of present) {
          const texts = await Promise.race([upTo('the end'), ended()])
          expect(texts).toEqual(expected)
        }
        await Promise.all(present.map((member) => member.close()))
      }),
      { numRuns: 40 },
    )
  })

  it('brings clients the messages of another node, several in a turn, and of their own', async () => {
    const bus = new Bus()
    const nodes = [await join(bus, {}, shared), await join(bus, {}, shared)]
    const members: Member[] = []
    for (const node of nodes) for (const kind of [0, 1, 2, 6, 7]) members.push(await open(node, kind))
    const [near, far] = nodes
    if (near === undefined || far === undefined) throw new Error('there are no nodes')
    for (const {
      connection,
      connection: { hub },
    } of members)
      hub.joinRoom(connection, 'a')
    await acquainted(nodes)
    const texts = Array.from({ length: 300 }, (_, i) => JSON.stringify(feed('a', i % 7, i)))
    for (const [i, text] of texts.entries()) {
      near.hub.broadcastToRoom('a', text)
      if (i % 20 === 0) await turn()
    }
    near.hub.broadcastToRoom('a', 'the end')
    for (const { upTo } of members) expect(await upTo('the end')).toEqual(texts)
    const plainBytes = texts.join('').length * members.length
    const sentBytes = nodes.reduce((sum, { hub }) => sum + hub.stats().sentBytes, 0)
    expect(sentBytes).toBeLessThan(plainBytes / 2.5)
  })
})

async function open(served: HubServer, kind: number): Promise<Member> {
  const options = CLIENTS[kind]
  const state = { expected: [], isGone: false }
  if (typeof options === 'string') {
    const client = await InflatingClient.open(served, options)
    const close = () => {
      client.connection.close()
      client.raw.socket.end()
      return client.raw.hungUp()
    }
    const ended = () => client.raw.hungUp()
    return { connection: client.connection, upTo: (marker) => client.upTo(marker), ended, close, ...state }
  }
  const { client, connection } = await served.connect(options)
  return {
    connection,
    upTo: (marker) => client.upTo(marker),
    ended: () => client.closed(),
    close: () => client.close(),
    ...state,
  }
}

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

async function take(served: HubServer, members: Member[], each: Step): Promise<void> {
  const { hub } = served
  const present = members.filter(({ isGone }) => !isGone)
  const of = (index: number) => present[index % present.length]
  switch (each.do) {
    case 'broadcast':
      for (const { expected } of present) expected.push(each.text)
      hub.broadcast(each.text)
      return
    case 'room': {
      const except = each.except === null ? undefined : of(each.except)?.connection
      for (const { connection, expected } of present) {
        if (connection.rooms.has(each.room) && connection !== except) expected.push(each.text)
      }
      const options = { volatile: each.volatile, ...(except !== undefined && { except }) }
      hub.broadcastToRoom(each.room, each.text, options)
      return
    }
    case 'direct': {
      const to = of(each.client)
      to?.expected.push(each.text)
      if (to !== undefined) to.connection.sendText(each.text)
      return
    }
    case 'join': {
      const who = of(each.client)
      if (who !== undefined) hub.joinRoom(who.connection, each.room)
      return
    }
    case 'leave': {
      const who = of(each.client)
      if (who !== undefined) hub.leaveRoom(who.connection, each.room)
      return
    }
    case 'newcomer':
      members.push(await open(served, each.client))
      return
    case 'close': {
      const who = of(each.client)
      if (who === undefined || present.length < 3) return
      who.isGone = true
      await who.close()
      return
    }
    case 'turn':
      await turn()
  }
}
