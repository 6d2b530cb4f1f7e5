/**
 * A chat on every core of this machine: one worker for each, all on one port, and no broker. A message
 * reaches all clients, whichever workers they are connected to.
 */
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { availableParallelism } from 'node:os'
import { type EventHandler, Hub, HubError } from 'wshub'
import { nodeClusterBackplane, serveNodeCluster } from 'wshub/node-cluster'
import { running } from './run.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

const chat: EventHandler = {
  async onOpen(conn) {
    conn.hub.joinRoom(conn, 'chat')
    const { count } = await conn.hub.cluster.roomSize('chat')
    conn.sendText(`You are one of ${count}, and at worker ${cluster.worker?.id}.`)
  },
  onMessage(conn, message) {
    if (message.type === 'text') conn.hub.broadcastToRoomExcept('chat', message.data, conn.id)
  },
}

function startWorkers() {
  let isLeaving = false
  cluster.setupPrimary({ serialization: 'advanced' }) // otherwise binary data would be sent as JSON
  serveNodeCluster()
  for (let core = 0; core < availableParallelism(); core++) cluster.fork()

  cluster.on('exit', () => {
    if (!isLeaving) cluster.fork()
  })
  for (const signal of signals) {
    process.once(signal, () => {
      isLeaving = true
      for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal)
    })
  }
}

async function startWorker() {
  // Listen once: a terminal sends the signal to the workers, too.
  const leaving = new Promise((resolve) => {
    for (const signal of signals) process.on(signal, resolve)
  })
  const hub = new Hub({ backplane: nodeClusterBackplane() })
  const server = createServer((req, res) => {
    try {
      void hub.upgrade(req, chat)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      res.writeHead(error.status, error.headers).end(error.message)
    }
  })
  hub.attach(server)
  await hub.cluster.ready()

  const { PORT = 8080, HOST = '127.0.0.1' } = process.env
  const { url, close } = await running(server.listen(Number(PORT), HOST), hub)
  console.log(`Listening on ${url}`)
  await leaving
  await close()
  cluster.worker?.disconnect()
}

if (cluster.isWorker) await startWorker()
else startWorkers()
