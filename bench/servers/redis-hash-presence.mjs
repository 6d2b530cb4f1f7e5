// Presence as Centrifugo keeps it in Redis, as one of several nodes: a hash of the users of a room, with a
// sorted set of when each expires, which the node of a user refreshes all the time, and a message to the
// room for each who comes or goes.

import { createClient } from 'redis'
import { crowdCalls } from './presence-crowd.mjs'
import { serve } from './serve.mjs'

/** Centrifugo's defaults: an entry is refreshed every 27 s, and expires after 60. */
const REFRESH_MS = 27_000
const EXPIRE_SECONDS = 60
const SWEEP_MS = 100

const ADD = `
redis.call('zadd', KEYS[2], ARGV[2], ARGV[3])
redis.call('hset', KEYS[1], ARGV[3], ARGV[4])
redis.call('expire', KEYS[1], ARGV[1])
redis.call('expire', KEYS[2], ARGV[1])`
const REMOVE = `
redis.call('hdel', KEYS[1], ARGV[1])
redis.call('zrem', KEYS[2], ARGV[1])`

const [, , node] = process.argv
let client
let subscriber
/** The hashes of the two scripts. */
let adding
let removing
const subscribed = new Map()
/** From the one that was refreshed longest ago. */
const entries = new Set()

async function add({ user, room }) {
  const expires = String(Math.floor(Date.now() / 1_000) + EXPIRE_SECONDS)
  const keys = [`{${room}}.hash`, `{${room}}.set`]
  await client.evalSha(adding, {
    keys,
    arguments: [String(EXPIRE_SECONDS), expires, user, JSON.stringify({ user })],
  })
}

async function enter(user, room) {
  if (!subscribed.has(room))
    subscribed.set(
      room,
      subscriber.subscribe(room, () => {}),
    )
  await subscribed.get(room)
  const entry = { user, room }
  entries.add(entry)
  await add(entry)
  await client.publish(room, JSON.stringify({ join: { user } }))
  return entry
}

async function exit(entry) {
  const { user, room } = entry
  entries.delete(entry)
  await client.evalSha(removing, { keys: [`{${room}}.hash`, `{${room}}.set`], arguments: [user] })
  await client.publish(room, JSON.stringify({ leave: { user } }))
}

serve({
  version: '',

  async listen({ redis }) {
    client = createClient({ url: redis })
    subscriber = client.duplicate()
    await Promise.all([client.connect(), subscriber.connect()])
    adding = await client.scriptLoad(ADD)
    removing = await client.scriptLoad(REMOVE)
    setInterval(refresh, SWEEP_MS)
    return 0
  },

  calls: crowdCalls(node, { enter, exit }),
})

/** Refreshes a share of the entries, so that each has its turn within the interval. */
function refresh() {
  const due = Math.round((entries.size * SWEEP_MS) / REFRESH_MS)
  for (const entry of [...entries].slice(0, due)) {
    entries.delete(entry)
    entries.add(entry)
    void add(entry)
  }
}
