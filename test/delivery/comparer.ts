import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { type EventHandler, Frame, Hub, type HubOptions, Opcode } from 'wshub'
import { makeServer } from '../support/http2-tunnel.ts'
import { listen, type RawClient, stop } from '../support/hub-server.ts'

/**
 * Starts a server whose only hub has the given handler. It sends no pings: the clients here answer none, and
 * on a busy machine a test takes longer than the 30 s after which the first is sent.
 */
export async function bare(options: HubOptions, handler: EventHandler) {
  const hub = new Hub({ pingIntervalMs: 0, ...options })
  const server = makeServer((req) => void hub.upgrade(req, handler))
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // the server listens on TCP
  return { hub, port }
}

export const frames = (texts: readonly string[]) =>
  Buffer.concat(texts.map((text) => Frame.text(text).encode()))

export const textsOf = (client: RawClient) =>
  client.frames.all.filter(({ opcode }) => opcode === Opcode.text).map(({ payload }) => payload.toString())
