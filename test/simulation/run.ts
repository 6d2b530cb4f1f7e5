import { finishHistory } from './history-end.ts'
import type { Node } from './node.ts'
import { CALL_TIMEOUT_MS, CLOSE_MS } from './node.ts'
import { checkPresence } from './presence.ts'
import { ROOMS } from './records.ts'
import type { Script } from './script.ts'
import { STEPS } from './steps.ts'
import { type Violation, World } from './world.ts'

/** Time, in ms, after which past trouble has no effect any more. */
const SETTLE_MS = 2_300
/** Time, in ms, in which everything under way ends if there is no trouble. */
const CALM_MS = 40
/** The number of channels of a node without rooms: one for all nodes, and its own. */
const OWN_CHANNELS = 2

/** The result of a run. */
export interface Run {
  readonly violation: Violation | undefined
  /** The trace, line by line. */
  readonly trace: readonly string[]
  readonly messages: number
}

/** Runs a script, and checks what must hold after each step and in the end. */
export async function run(script: Script): Promise<Run> {
  const world = new World(script.seed, script.settings)
  world.nodes.length = script.places
  world.clients.length = script.clients
  const onError = (error: unknown) =>
    world.fail('thrown', error instanceof Error ? `${error.stack}` : `${error}`)
  process.on('unhandledRejection', onError)
  world.clock.install()
  try {
    for (const { kind, picks, ms } of script.steps) {
      world.trace(`step ${kind} ${picks}`)
      world.clock.post('world', () => STEPS[kind].run(world, picks))
      await world.clock.advance(ms)
      world.check()
      if (world.violation !== undefined) break
    }
    if (world.violation === undefined) await finish(world)
  } catch (error) {
    onError(error)
  } finally {
    world.clock.uninstall()
    process.off('unhandledRejection', onError)
  }
  return { violation: world.violation, trace: world.lines, messages: world.messages }
}

/** Ends all trouble, and checks that it has left no trace. */
async function finish(world: World): Promise<void> {
  world.trace('heal')
  world.heal()
  await world.clock.advance(SETTLE_MS)
  world.check()
  const nodes = world.upNodes()
  checkCluster(world, nodes)
  if (world.violation !== undefined) return
  if (world.history !== undefined) await finishHistory(world, nodes, world.history)
  if (world.violation !== undefined) return
  // A node that was away finds out what it has missed, even if no message follows.
  if (!world.engine.hasLostSilently) world.ledger.checkAccounts()
  for (const node of nodes) world.do(node, () => askAround(world, node))
  if (world.settings.hasPresence) {
    for (const node of nodes) {
      for (const room of ROOMS) world.do(node, () => checkPresence(world, node, room))
    }
  }
  await world.clock.advance(CALL_TIMEOUT_MS + CALM_MS)
  world.check()
  if (world.pendingCalls.size > 0) {
    const calls = [...world.pendingCalls].filter(({ node }) => !node.isKilled)
    for (const { node, what } of calls) world.fail('calls', `${what} of ${node.name} is never answered`)
  }
  const markers = new Set<string>()
  for (const node of nodes) world.do(node, () => sendMarkers(world, node, markers))
  await world.clock.advance(CALM_MS)
  for (const id of markers) world.ledger.checkReceived(id)
  world.ledger.checkAccounts()
  if (!world.engine.hasLost) world.ledger.checkNoGaps()
  if (world.violation !== undefined) return
  for (const node of nodes) world.do(node, () => node.close())
  await world.clock.advance(2 * CLOSE_MS)
  for (const node of [...world.ended, ...world.nodes]) {
    if (node !== undefined && !node.isKilled) node.checkClosed()
  }
  const stores = world.history?.engine.size ?? 0
  if (stores > 0) world.fail('close', `${stores} stores are left`)
  if (world.engine.size > 0) world.fail('close', `${world.engine.size} backplanes are left`)
}

/**
 * Checks that each node reports its true state: that it is connected, to which nodes, and for which rooms.
 */
function checkCluster(world: World, nodes: readonly Node[]): void {
  for (const { name, hub, backplane } of nodes) {
    const { state } = hub.cluster
    const stats = hub.cluster.stats()
    if (state !== 'connected') world.fail('state', `${name} is ${state} in the end`)
    if (stats.nodes !== nodes.length)
      world.fail('state', `${name} knows ${stats.nodes} nodes, not ${nodes.length}`)
    const rooms = hub.rooms().length
    if (stats.rooms !== rooms)
      world.fail('state', `${name} is subscribed to ${stats.rooms} rooms, not ${rooms}`)
    const channels = OWN_CHANNELS + rooms + (hub.size > 0 ? 1 : 0) // one more for what is for everyone
    if (backplane.subscribed.size !== channels) {
      world.fail('state', `${name} has ${backplane.subscribed.size} subscriptions, not ${channels}`)
    }
  }
}

/** Checks that a node gets complete and true answers from the others. */
function askAround(world: World, node: Node): void {
  const { cluster } = node.hub
  for (const room of ROOMS) {
    const expected = world.upNodes().reduce((sum, { hub }) => sum + hub.roomSize(room), 0)
    world.call(node, `the size of ${room}`, cluster.roomSize(room), ({ count, missing }) => {
      if (count === expected && missing.length === 0) return
      world.fail('answers', `${node.name} counts ${count} in ${room}, not ${expected}; missing: ${missing}`)
    })
  }
  const ids = world.upNodes().flatMap(({ hub }) => hub.connections().map(({ id }) => id))
  world.call(node, 'all connections', cluster.connections(), ({ results }) => {
    const found = results.map(({ id }) => id)
    if (found.sort().join() !== ids.sort().join()) {
      world.fail('answers', `${node.name} finds ${found.length} connections, not ${ids.length}`)
    }
  })
}

/** Sends one more message of each kind, which reveals that earlier ones were lost. */
function sendMarkers(world: World, node: Node, markers: Set<string>): void {
  for (const room of ROOMS) {
    node.publish({ scope: 'room', rooms: [room] }, (id) => {
      markers.add(id)
      node.hub.broadcastToRoom(room, id)
    })
  }
  node.publish({ scope: 'everyone' }, (id) => {
    markers.add(id)
    node.hub.broadcast(id)
  })
  for (const session of world.ledger.sessions.values()) {
    if (!session.isOpen || !world.isAlive(session.node)) continue
    node.publish({ scope: 'direct', to: session.name }, (id) => {
      markers.add(id)
      node.hub.sendTo(session.id, id)
    })
  }
}
