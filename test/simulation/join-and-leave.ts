import type { Node } from './node.ts'
import type { Session } from './records.ts'
import type { World } from './world.ts'

/** Puts a connection into a room, through its own node. */
export function joinRoom(world: World, node: Node, session: Session, room: string): void {
  const connection = node.connection(session.id)
  if (connection === undefined) return
  const membership = world.ledger.joining(session, room, node.name)
  if (membership === undefined) return
  if (node.hub.joinRoom(connection, room)) world.ledger.joinedHere(membership)
  const wasConnected = node.hub.cluster.state === 'connected'
  world.call(node, `join ${room}`, node.hub.cluster.join({ id: session.id }, room), ({ count }) => {
    // While the engine cannot be reached, nothing waits for it.
    const isConnected = wasConnected && node.hub.cluster.state === 'connected'
    if (count === 1 && isConnected && session.isOpen) world.ledger.joinedAll(membership)
  })
}

/** Takes a connection out of a room, through its own node. */
export function leaveRoom(world: World, node: Node, session: Session, room: string): void {
  const connection = node.connection(session.id)
  if (connection === undefined) return
  const left = world.ledger.leaving(session, room, node.name)
  if (connection.inRoom(room)) node.told.wasHere(session.name, room)
  node.hub.leaveRoom(connection, room)
  left()
}
