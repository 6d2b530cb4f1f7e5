import { makeServer, type ServerOptions } from 'graphql-ws'
import type { Connection, EventHandler } from 'wshub'

/** The metadata of one connection: the two functions of graphql-ws for it. */
type Metadata = {
  receive: (data: string) => Promise<void>
  closed: (code: number, reason: string) => Promise<void>
}

/**
 * Returns a handler that speaks `graphql-transport-ws`. In the callbacks of the options the connection is
 * `ctx.extra`.
 */
export function graphqlHandler(
  options: ServerOptions<Record<string, unknown> | undefined, Connection<Metadata>>,
): EventHandler<Metadata> {
  const server = makeServer(options)

  return {
    onOpen(conn) {
      const socket = {
        protocol: conn.protocol,
        send: (data: string) => void conn.sendText(data),
        close: (code?: number, reason?: string) => void conn.close(code, reason),
        onMessage: (receive: Metadata['receive']) => void conn.setMetadata('receive', receive),
      }
      conn.setMetadata('closed', server.opened(socket, conn))
    },

    onMessage(conn, message) {
      // The promise settles when the operation ends; the next message does not wait for it.
      return conn.getMetadata('receive')?.(message.data.toString())
    },

    onClose(conn, code, reason) {
      return conn.getMetadata('closed')?.(code, reason)
    },
  }
}
