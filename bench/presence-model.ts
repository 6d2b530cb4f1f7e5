import type { Traffic } from './cluster-model.ts'

// The cost of presence in messages and bytes, as in docs/scaling.md, without what an engine's protocol adds.
// bench/simulated.ts checks it. Channels are counted with their messages.

export interface PresenceActivity {
  nodes: number
  /** Each with somebody on every node. */
  rooms: number
  /** Joins, with an info, and as many leaves, of all nodes together. */
  changesPerSecond: number
  /** Of each node. */
  beatsPerSecond: number
  /** Changes that a node has published before. */
  version: number
}

/** Names of rooms, ids of users and infos as JSON have as many bytes. */
const NAME_BYTES = 10
const DELTA_BYTES = 33 + NAME_BYTES
const JOIN_BYTES = DELTA_BYTES + 9 + NAME_BYTES + NAME_BYTES
const LEAVE_BYTES = DELTA_BYTES + 2 + NAME_BYTES
const HEARTBEAT_BYTES = 26
const OWN_PROBE_BYTES = 39
const ROOM_PROBE_BYTES = 37
const DIGEST_BYTES = 29
/** Of 48 bits, as a varint. */
const HASH_BYTES = 7
const MAX_DIGEST_ROOMS = 2_000

/** Returns what the engine receives and sends in a second. */
export function presenceTraffic(activity: PresenceActivity): Traffic {
  const { nodes, rooms, changesPerSecond, version } = activity
  const beats = nodes * activity.beatsPerSecond
  const digestBytes = DIGEST_BYTES + (HASH_BYTES + varintBytes(version)) * Math.min(rooms, MAX_DIGEST_ROOMS)
  // All but the probe of the node's own channel go to every node.
  const toAll = {
    messages: changesPerSecond + 3 * beats,
    bytes:
      (changesPerSecond * (JOIN_BYTES + LEAVE_BYTES)) / 2 +
      beats * (HEARTBEAT_BYTES + ROOM_PROBE_BYTES + digestBytes),
  }
  return {
    messagesIn: toAll.messages + beats,
    bytesIn: toAll.bytes + beats * OWN_PROBE_BYTES,
    messagesOut: toAll.messages * nodes + beats,
    bytesOut: toAll.bytes * nodes + beats * OWN_PROBE_BYTES,
  }
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : 1 + varintBytes(Math.floor(value / 0x80))
}
