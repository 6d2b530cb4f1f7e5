import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Hub } from 'wshub'

/** The address of an example: the argument of every framework's `listen`. Port 0 picks a free one. */
export interface Address {
  port: number
  host: string
}

/** A running example: its address, its hub, and a function that stops it. */
export interface Running {
  url: string
  hub: Hub
  close(): Promise<void>
}

/**
 * Resolves once the server listens. Stopping uses the framework's own `close`, or closes the hub and the
 * server.
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

/** Runs an example if its file was started, and not if a test imports it. */
export async function runIfMain(file: string, port: number, start: (address: Address) => Promise<Running>) {
  if (process.argv[1] !== fileURLToPath(file)) return

  const { PORT = port, HOST = '127.0.0.1' } = process.env
  const { url, close } = await start({ port: Number(PORT), host: HOST })
  console.log(`Listening on ${url}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, close)
}
