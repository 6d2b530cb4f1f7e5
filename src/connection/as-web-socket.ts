import { HubError } from '../base/errors.ts'
import type { Connection } from './connection.ts'
import { HubConnection } from './hub-connection.ts'
import type { WebSocketView } from './web-socket-view.ts'

/**
 * Returns a connection in the form of a `ws` WebSocket, for libraries that expect one; the same object each
 * time. Call it in `onOpen`, and let the library attach its listeners before `onOpen` has settled: messages
 * wait until then. Later they reach the listeners that there are, after the handler's own callbacks.
 * @throws {HubError} WSHUB_ERR_FOREIGN_CONNECTION when it is no connection of this copy of the package
 */
export function asWebSocket<Meta extends object>(connection: Connection<Meta>): WebSocketView {
  if (!HubConnection.is(connection)) {
    throw new HubError(
      'WSHUB_ERR_FOREIGN_CONNECTION',
      'only a connection of a hub can be seen as a WebSocket',
    )
  }
  return HubConnection.asWebSocket(connection)
}
