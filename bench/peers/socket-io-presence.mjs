// Presence by Socket.IO's fetchSockets(), as one of several nodes over its Redis adapter: the node of a user
// who comes or goes asks all nodes for the sockets of the room, and sends the room the list of its users. The
// users have no connection: the namespace has what the adapter reads of a socket, and nothing is sent to it.

import { createRequire } from 'node:module'
import { createAdapter } from '@socket.io/redis-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { crowdCalls } from '../servers/presence-crowd.mjs'
import { serve } from '../servers/serve.mjs'

/** The headers of a client in Node, fewer than those of a browser. Each socket that is fetched has them. */
const HEADERS = {
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits',
  host: 'localhost:3000',
}

const QUIET_CLIENT = { writeToEngine() {} }

const [, , node] = process.argv
let namespace
let entered = 0

async function enter(user, room, isQuiet) {
  const id = `${node}-${String(entered++).padStart(18, '0')}` // as long as an id of Socket.IO
  namespace.sockets.set(id, {
    id,
    handshake: handshake(),
    rooms: new Set([id, room]),
    data: { user },
    client: QUIET_CLIENT,
  })
  await namespace.adapter.addAll(id, new Set([id, room]))
  if (!isQuiet) await tell(room)
  return { id, room }
}

async function exit({ id, room }) {
  namespace.adapter.delAll(id)
  namespace.sockets.delete(id)
  await tell(room)
}

async function tell(room) {
  const sockets = await namespace.in(room).fetchSockets()
  namespace.to(room).emit(
    'users',
    sockets.map(({ data }) => data.user),
  )
}

function handshake() {
  return {
    headers: HEADERS,
    time: new Date().toString(),
    address: '127.0.0.1',
    xdomain: false,
    secure: false,
    issued: Date.now(),
    url: '/socket.io/?EIO=4&transport=websocket',
    query: { EIO: '4', transport: 'websocket' },
    auth: {},
  }
}

serve({
  version: createRequire(import.meta.url)('socket.io/package.json').version,

  async listen({ redis }) {
    const publisher = createClient({ url: redis })
    const subscriber = publisher.duplicate()
    await Promise.all([publisher.connect(), subscriber.connect()])
    const io = new Server({ adapter: createAdapter(publisher, subscriber) })
    namespace = io.of('/')
    await subscriber.ping()
    return 0
  },

  calls: crowdCalls(node, { enter, exit }),
})
