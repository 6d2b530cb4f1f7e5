import type { Node } from './node.ts'
import type { Session } from './records.ts'
import type { World } from './world.ts'

/** Numbers that are taken modulo whatever they choose from, so any of them fit. */
export type Picks = readonly [number, number, number]

/** A kind of step. A step that cannot be done at its time does nothing. */
export interface StepKind {
  /** How often it is chosen, compared with others. */
  readonly weight: number
  run(world: World, picks: Picks): void
}

/** Runs a step on a node, if there is one that is up and not paused. */
export function withNode(world: World, place: number, act: (node: Node) => void): void {
  const node = world.upNode(place)
  if (node !== undefined) world.do(node, () => act(node))
}

/** Runs a step with the connection of a client on its node. */
export function withSession(world: World, client: number, act: (node: Node, session: Session) => void): void {
  const session = world.sessionOf(client)
  const node = session === undefined ? undefined : world.nodeNamed(session.node)
  if (session === undefined || node === undefined || world.clock.isPaused(node.name)) return
  world.do(node, () => act(node, session))
}
