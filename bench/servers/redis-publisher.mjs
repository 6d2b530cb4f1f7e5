// Publishes to Redis, without clients: to a room with a history, by wshub as built, or by a plain PUBLISH.

import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { Hub } from 'wshub'
import { redisHistory } from 'wshub/redis'
import { makePayload } from './payload.mjs'
import { serve } from './serve.mjs'

const ROOM = '0'
/** The channel of the room's history; the plain PUBLISH uses the same. */
const CHANNEL = `wshub:h:${ROOM}`

let subscriber
let received = 0
/** Returns how many messages one from the channel stands for. */
let sizeOf = () => 1
const publishers = {}

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  calls: {
    /** Connects the publishers, and one subscriber. */
    async connect({ url, maxMessages }) {
      const client = await createClient({ url }).connect()
      subscriber = await client.duplicate().connect()
      await subscriber.subscribe(CHANNEL, (text) => {
        received += sizeOf(text)
      })
      const hub = new Hub({ history: { store: redisHistory({ url }), rooms: () => ({ maxMessages }) } })
      await connected(hub)
      publishers.history = (text) => hub.publish(ROOM, text)
      publishers.plain = (text) => client.publish(CHANNEL, text)
    },

    /** Publishes, `inFlight` at a time, and resolves when the subscriber has everything. */
    async publish({ how, messages, inFlight, payloadBytes }) {
      const before = received
      // A script publishes the messages of a turn as one: their lengths are its fourth word.
      sizeOf = how === 'plain' ? () => 1 : (text) => text.split(' ', 4)[3].split(',').length
      let number = 0
      const one = async () => {
        while (number < messages) await publishers[how](makePayload(0, number++, payloadBytes))
      }
      await Promise.all(Array.from({ length: inFlight }, one))
      await subscriber.ping()
      if (received - before !== messages) throw new Error(`${received - before} of ${messages} arrived`)
    },
  },
})

/** Resolves when the store has a connection. */
async function connected(hub) {
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await hub.history(ROOM, { last: 1 })
    } catch {
      await sleep(50)
    }
  }
  throw new Error('the store does not answer')
}
