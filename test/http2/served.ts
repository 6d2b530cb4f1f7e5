/** A hub on a server of node:http2, where every upgrade opens a connection. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer, createServer, type Http2SecureServer, type Http2Server } from 'node:http2'
import { onTestFinished } from 'vitest'
import { type Connection, type EventHandler, Hub, HubError, type HubOptions, type UpgradeInit } from 'wshub'
import { echo, portOf, selfSigned } from '../adapters/frameworks.ts'
import { destroySessions } from '../support/http2-client.ts'
import { inTime, type Target } from '../support/raw.ts'

export interface Served extends Target {
  readonly hub: Hub
  readonly server: Http2Server | Http2SecureServer
  readonly connections: Connection[]
  readonly requests: IncomingMessage[]
}

export interface ServeInit extends UpgradeInit {
  readonly secure?: boolean
  /** Runs in the request listener before the upgrade; if it returns `true`, it has answered. */
  readonly before?: (req: IncomingMessage, res: ServerResponse) => boolean | undefined
}

/** The hub sends no pings unless the options say so. */
export async function serve(
  options: HubOptions = {},
  handler: EventHandler = echo,
  { secure = false, before, ...init }: ServeInit = {},
): Promise<Served> {
  const hub = new Hub({ pingIntervalMs: 0, ...options })
  const connections: Connection[] = []
  const requests: IncomingMessage[] = []
  const recording: EventHandler = {
    ...handler,
    onOpen(connection) {
      connections.push(connection)
      return handler.onOpen?.(connection)
    },
  }
  const listener = (request: unknown, response: unknown): void => {
    // Upgrades and requests of HTTP/1.1 come as those of node:http, all others are not looked at.
    const [req, res] = [request as IncomingMessage, response as ServerResponse]
    requests.push(req)
    try {
      if (before?.(req, res)) return
      hub.upgrade(req, recording, init)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      const { status, headers, message } = error
      res.writeHead(status, headers).end(message)
    }
  }
  const server = secure
    ? createSecureServer({ allowHTTP1: true, ...selfSigned() }, listener)
    : createServer(listener)
  hub.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    destroySessions()
    await hub.close({ timeoutMs: 50 })
    await inTime('the server to close', new Promise((resolve) => server.close(resolve)))
  })
  return { hub, server, connections, requests, port: portOf(server), secure }
}
