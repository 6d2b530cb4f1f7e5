/**
 * An echo server without a framework, as a protocol fuzzing client needs it: it returns text as text and
 * binary as binary, of any size up to 64 MiB, compressed if the client offers that (not on Deno).
 */
import { createServer } from 'node:http'
import { type EventHandler, Hub, HubError } from 'wshub'
import { type Address, runIfMain, running } from './run.ts'

const echo: EventHandler = {
  onMessage(conn, message) {
    if (message.type === 'text') conn.sendText(message.data)
    else conn.sendBinary(message.data)
  },
}

export async function start(address: Address) {
  const hub = new Hub({
    maxMessageSize: 64 * 1024 * 1024,
    maxBufferedBytes: 256 * 1024 * 1024,
    enableCompression: process.versions.deno === undefined,
    allowedOrigins: ['*'],
    pingIntervalMs: 0,
  })
  const server = createServer((req, res) => {
    try {
      void hub.upgrade(req, echo)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      res.writeHead(error.status, error.headers).end(error.message)
    }
  })
  hub.attach(server)
  return running(server.listen(address), hub)
}

await runIfMain(import.meta.url, 9001, start)
