// Type-checked in a project that has no framework, nor types for one, and never run.
import { createServer } from 'node:http'
import { type EventHandler, Hub, HubError, type WebSocketLike } from 'wshub'
import { connect } from 'wshub/testing'

const hub = new Hub<{ name: string }>({ maxConnections: 10 })
const handler: EventHandler<{ name: string }> = {
  onOpen: (connection) => connection.setMetadata('name', 'Ada'),
  onError: (_connection, error) => error instanceof HubError && error.code === 'WSHUB_ERR_PROTOCOL',
}

const server = createServer((req) => void hub.upgrade(req, handler))
hub.attach(server)

/** Not `any`, as it would be where the declarations lean on a package that is not installed. */
export function register(socket: WebSocketLike): string {
  // @ts-expect-error a WebSocket has no such member
  socket.noSuchMember()
  // @ts-expect-error nor is a number one
  hub.register(7, handler)
  return hub.register(socket, handler).id
}

export async function tested(): Promise<string> {
  const client = await connect(server, '/')
  // @ts-expect-error a client has no such member, and is not `any`
  client.noSuchMember()
  const message = await client.next()
  return message.type === 'text' ? message.data : message.data.toString('hex')
}
