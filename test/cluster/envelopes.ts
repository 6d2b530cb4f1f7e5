import { encodeEnvelope, openEnvelope, readBody } from '../../src/cluster/wire/envelope.ts'
import type { Bus } from '../support/bus.ts'
import { turn } from '../support/hub-server.ts'

/** Waits a few turns of the event loop, until the bus has delivered everything. */
export async function quiet(): Promise<void> {
  for (let i = 0; i < 4; i++) await turn()
}

/** Returns the envelopes that were published on a channel. */
export function published(bus: Bus, channel: string) {
  return bus.published
    .filter((entry) => entry.channel === channel)
    .map(({ bytes }) => readBody(openEnvelope(bytes)))
}

/** Imitates another process of the cluster by bytes on the bus. */
export function stranger(bus: Bus, node = 'stranger') {
  const counts = new Map<string, number>()
  return {
    publish(channel: string, body: Parameters<typeof encodeEnvelope>[1], change?: (bytes: Buffer) => void) {
      const number = (counts.get(channel) ?? 0) + 1
      counts.set(channel, number)
      const bytes = encodeEnvelope({ node, epoch: 1, sequence: number }, body)
      change?.(bytes)
      bus.inject(channel, bytes)
    },
    message(channel: string, data: string, change?: (bytes: Buffer) => void) {
      const plain = { rooms: undefined, union: 0, exceptIds: [], exceptRooms: [], options: undefined }
      this.publish(channel, { kind: 'message', data, ...plain }, change)
    },
  }
}
