import { type HubOptions, memoryHistory, stampJson } from 'wshub'
import { redisHistory } from 'wshub/redis'

/**
 * Returns the options of the chat's hub. Rooms keep what is said in this process, or in the Redis of
 * REDIS_URL for all processes that have the same one.
 */
export function options(): HubOptions {
  const { REDIS_URL: url } = process.env
  return {
    history: {
      store: url === undefined ? memoryHistory() : redisHistory({ url }),
      rooms: () => ({ maxMessages: 1_000, maxAgeMs: 86_400_000 }),
      stamp: stampJson,
    },
  }
}
