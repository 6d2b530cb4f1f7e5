import type { Node } from './node.ts'
import type { Session } from './records.ts'
import type { World } from './world.ts'

/** Numbers that are taken modulo whatever they choose from, so any of them fit. */
export type Picks = readonly [number, number, number]

/** A kind of step. A step that does not fit does nothing. */
export interface StepKind {
  /** How often it is chosen, compared with others. */
  readonly weight: number
  run(world: World, picks: Picks): void
}

/** Has a node do something, if it can. */
export function withNode(world: World, place: number, act: (node: Node) => void): void {
  const node = world.upNode(place)
  if (node !== undefined) world.do(node, () => act(node))
}

/** Has the node of a client do something with its connection. */
export function withSession(world: World, client: number, act: (node: Node, session: Session) => void): void {
  const session = world.sessionOf(client)
  const node = session === undefined ? undefined : world.nodeNamed(session.node)
  if (session === undefined || node === undefined || world.clock.isPaused(node.name)) return
  world.do(node, () => act(node, session))
}
