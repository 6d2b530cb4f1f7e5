import { type Hub, type HubOptions, memoryHistory, stampJson } from 'wshub'
import { redisHistory } from 'wshub/redis'
import { chatPresence } from './chat.ts'

/**
 * Returns the options of the chat's hub. Rooms keep what is said in this process, or in the Redis of
 * REDIS_URL for all processes that have the same one; and they know who is there.
 * @param others come first, a backplane for example
 */
export function options(hub: () => Hub, others: HubOptions): HubOptions {
  const { REDIS_URL: url } = process.env
  return {
    history: {
      store: url === undefined ? memoryHistory() : redisHistory({ url }),
      rooms: () => ({ maxMessages: 1_000, maxAgeMs: 86_400_000 }),
      stamp: stampJson,
    },
    presence: chatPresence(hub),
    ...others,
  }
}
