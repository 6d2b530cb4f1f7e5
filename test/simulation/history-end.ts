import { HISTORY_ROOMS, type SharedHistory } from './history-app.ts'
import type { Node } from './node.ts'
import type { World } from './world.ts'

/** Interval, in ms, at which a simulation checks whether all clients are up to date. */
const LOOK_MS = 250
/** Most time, in ms, until they are: each room is compared with the store every ten seconds. */
const MOST_MS = 12_000
/** The same if the nodes have noticed all losses: they read at once. */
const MOST_NOTICED_MS = 1_000
const READ_MS = 20

/**
 * Ends a simulation with histories: all trouble has ended, so each client gets what it missed or learns of
 * the loss.
 */
export async function finishHistory(
  world: World,
  nodes: readonly Node[],
  shared: SharedHistory,
): Promise<void> {
  const { engine } = shared
  if (!(await settles(world, shared, new Map()))) return
  const ids = HISTORY_ROOMS.map((room) => {
    const id = nodes[0]?.app?.publish(room)
    return [room, id ?? ''] as const
  })
  await world.clock.advance(READ_MS)
  const markers = new Map(ids)
  if (!(await settles(world, shared, markers))) return
  for (const { app } of nodes) for (const room of HISTORY_ROOMS) app?.read({ room })
  await world.clock.advance(READ_MS)
  for (const { name, app, hub } of nodes) {
    const rooms = hub.stats().history?.rooms ?? 0
    const followed = app?.store.wantedRooms ?? 0
    if (followed !== rooms)
      world.fail('close', `${name} follows ${followed} rooms at its store, not ${rooms}`)
  }
  if (engine.size !== nodes.length) world.fail('close', `${engine.size} stores, and ${nodes.length} nodes`)
}

/** Waits until each client has every message, or has been notified of the loss. */
async function settles(
  world: World,
  { ledger, engine }: SharedHistory,
  markers: ReadonlyMap<string, string>,
): Promise<boolean> {
  const mostMs = engine.hasLostSilently ? MOST_MS : MOST_NOTICED_MS
  for (let ms = 0; ; ms += LOOK_MS) {
    world.check()
    if (world.violation !== undefined) return false
    const unsettled = [
      ...ledger.unsettled(markers),
      ...[...world.pendingCalls].flatMap(({ node, what }) =>
        node.isKilled ? [] : [`${what} is not answered`],
      ),
    ]
    if (unsettled.length === 0) return true
    if (ms >= mostMs) {
      world.fail('end', unsettled.join('; '))
      return false
    }
    await world.clock.advance(LOOK_MS)
  }
}
