import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Hub } from 'wshub'

/** Where an example listens: what `listen` of every framework takes. Port 0 takes a free one. */
export interface Address {
  port: number
  host: string
}

/** An example that is up: where it is, its hub, and how to end it. */
export interface Running {
  url: string
  hub: Hub
  close(): Promise<void>
}

/**
 * Resolves once the server listens; without a `close` of the framework's own, closes the hub and the server.
 */
export async function running(server: Server, hub: Hub, close?: () => Promise<void>): Promise<Running> {
  if (!server.listening) await once(server, 'listening')
  const { address, port } = server.address() as AddressInfo // an example never listens on a pipe
  const host = address === '127.0.0.1' ? 'localhost' : address

  async function closeBoth() {
    await hub.close()
    server.close()
    await once(server, 'close')
  }
  return { url: `http://${host}:${port}`, hub, close: close ?? closeBoth }
}

/** Runs an example if its file is the one that was started, and not when a test imports it. */
export async function runIfMain(file: string, port: number, start: (address: Address) => Promise<Running>) {
  if (process.argv[1] !== fileURLToPath(file)) return

  const { PORT = port, HOST = '127.0.0.1' } = process.env
  const { url, close } = await start({ port: Number(PORT), host: HOST })
  console.log(`Listening on ${url}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, close)
}
