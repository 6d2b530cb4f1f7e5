const NODE_ID = /^[A-Za-z0-9_-]{1,64}$/
/** The id of the node, and the number of the connection there. */
const CONNECTION_ID = /^[A-Za-z0-9_-]{1,64}\.[0-9a-z]{1,16}$/

/** Returns whether a node may have that id. */
export function isNodeId(id: string): boolean {
  return NODE_ID.test(id)
}

/** Returns whether a connection may have that id. */
export function isConnectionId(id: string): boolean {
  return CONNECTION_ID.test(id)
}

/** Returns the node of a connection, by its id; `undefined` when no connection has such an id. */
export function nodeOf(connectionId: string): string | undefined {
  const end = connectionId.lastIndexOf('.')
  const node = end < 0 ? '' : connectionId.slice(0, end)
  return isNodeId(node) ? node : undefined
}
