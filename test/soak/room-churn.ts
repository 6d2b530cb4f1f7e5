/**
 * Forked with `--expose-gc`: two hubs on one backplane, and rooms that are opened and closed, each with a
 * message from the other node. Below every limit, nothing may be left of them. Reports the heap after each
 * round.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { WebSocket } from 'ws'
import { type Connection, Hub, HubError, MemoryBackplane, MemoryBus } from 'wshub'

/** Well below every limit, the lowest of which is 10,000 rooms without members. */
const BATCH = 500
/** More rooms than a node remembers. */
const FORGOTTEN_BEATS = 300
/** The smallest of these looks at the heap counts: a busy machine may still hold some of the last round. */
const LOOKS = 3

/** Counts the heartbeats of its node. */
class CountingBackplane extends MemoryBackplane {
  beats = 0

  override publish(channel: string, bytes: Uint8Array): boolean {
    if (channel === 'wshub.c') this.beats++
    return super.publish(channel, bytes)
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

const bus = new MemoryBus()
const backplanes = [new CountingBackplane(bus), new CountingBackplane(bus)] as const
const cluster = { heartbeatIntervalMs: 1, heartbeatTimeoutMs: 60_000, roomGraceMs: 0 }
const [hub, other] = [
  new Hub({ backplane: backplanes[0], cluster }),
  new Hub({ backplane: backplanes[1], cluster }),
] as const

async function connected(): Promise<Connection> {
  const server = createServer()
  hub.attach(server)
  const opened = new Promise<Connection>((resolve, reject) => {
    server.on('request', (req, res) => {
      try {
        resolve(hub.upgrade(req, {}))
      } catch (error) {
        if (error instanceof HubError) res.writeHead(error.status).end()
        reject(error)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port')
  const client = new WebSocket(`ws://127.0.0.1:${address.port}`)
  client.on('message', () => {})
  return opened
}

async function churn(connection: Connection, first: number, count: number): Promise<void> {
  for (let done = 0; done < count; done += BATCH) {
    const rooms = Array.from({ length: BATCH }, (_, index) => `room ${first + done + index}`)
    for (const room of rooms) hub.joinRoom(connection, room)
    await turns(2)
    for (const room of rooms) other.broadcastToRoom(room, 'x')
    for (const room of rooms) hub.broadcastToRoom(room, 'y')
    await turns(2)
    for (const room of rooms) hub.leaveRoom(connection, room)
  }
}

/** Returns the size of the heap once all used rooms are forgotten. */
async function settledHeap(): Promise<number> {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('this needs node --expose-gc')
  let leastBytes = Number.POSITIVE_INFINITY
  for (let look = 0; look < LOOKS; look++) {
    const ends = backplanes.map(({ beats }) => beats + FORGOTTEN_BEATS)
    while (backplanes.some(({ beats }, index) => beats < (ends[index] ?? 0))) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    for (let i = 0; i < 5; i++) {
      await turn()
      gc()
    }
    leastBytes = Math.min(leastBytes, process.memoryUsage().heapUsed)
  }
  return leastBytes
}

const [, , rounds = '6', roomsPerRound = '20000'] = process.argv
const connection = await connected()
await Promise.all([hub.cluster.ready(), other.cluster.ready()])
const heapBytes: number[] = []
for (let round = 0; round < Number(rounds); round++) {
  await churn(connection, round * Number(roomsPerRound), Number(roomsPerRound))
  heapBytes.push(await settledHeap())
}
const { received, lost } = hub.cluster.stats()
process.send?.({ heapBytes, received, lost }, () => process.exit())
process.on('disconnect', () => process.exit()) // also when the process that forked it was killed
