// wshub, built, without clients: fills the history of a room and reads how much memory that took.

import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { Frame, Hub, memoryHistory, stampJson } from 'wshub'
import { makePayload } from './payload.mjs'
import { serve } from './serve.mjs'

const version = createRequire(import.meta.url)('wshub/package.json').version
/** Published at a time, so that what waits for the store stays small. */
const BATCH = 100

serve({
  version,
  calls: {
    /**
     * Resolves with the growth that `messages` messages made in a room without members. A first room, as
     * large, is filled before, so that code and pools are not counted.
     */
    async fill({ messages, payloadBytes }) {
      await fillOne(messages, payloadBytes)
      const before = await read()
      const { hub, frameBytes } = await fillOne(messages, payloadBytes)
      const after = await read()
      const { messages: kept } = await hub.history('0', { last: 1 })
      if (kept.length !== 1) throw new Error('the history is empty')
      return {
        version,
        heldBytes: after.heldBytes - before.heldBytes,
        rssBytes: after.rssBytes - before.rssBytes,
        frameBytes,
      }
    },
  },
})

async function fillOne(messages, payloadBytes) {
  const hub = new Hub({
    history: {
      store: memoryHistory({ maxBytesPerRoom: 2 ** 28 }),
      rooms: () => ({ maxMessages: messages }),
      stamp: stampJson,
    },
  })
  let frameBytes = 0
  for (let number = 0; number < messages; number += BATCH) {
    const batch = Array.from({ length: BATCH }, (_, index) => makePayload(0, number + index, payloadBytes))
    await Promise.all(batch.map((text) => hub.publish('0', text)))
    for (const text of batch) frameBytes += Frame.text(text).encode().length
  }
  return { hub, frameBytes }
}

async function read() {
  for (let pass = 0; pass < 4; pass++) {
    globalThis.gc()
    await sleep(100)
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rssBytes: rss, heldBytes: heapUsed + external }
}
