// wshub, built, without clients: fills the history of a room.

import { createRequire } from 'node:module'
import { Frame, Hub, memoryHistory, stampJson } from 'wshub'
import { makePayload } from './payload.mjs'
import { serve } from './serve.mjs'

const version = createRequire(import.meta.url)('wshub/package.json').version
/** Published at a time, so that what waits for the store stays small. */
const BATCH = 100
/** Kept alive. */
const hubs = []

serve({
  version,
  calls: {
    /** Fills the history of a room without members, and resolves with the bytes of the frames. */
    async fill({ messages, payloadBytes }) {
      const { hub, frameBytes } = await fillOne(messages, payloadBytes)
      hubs.push(hub)
      return { version, frameBytes }
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
