import { setImmediate } from 'node:timers/promises'
import type { Connection } from 'wshub'
import type { Drill } from './drill.ts'

const CLIENTS = 20
const SLOW = 2
const BYTES = 16_384
const LIMIT_BYTES = 262_144

export const slowClient: Drill = {
  title: 'Two of twenty clients stop reading',
  stepSeconds: 15,
  tickMs: 10,
  alarms: ['WshubManyClientsAreSlow', 'WshubMessagesDropped'],
  panels: ['Share of the limits', 'Dropped messages', 'Memory for messages that wait'],
  verdict:
    'A tenth of the clients do not read: their share is above zero, and messages are dropped for no other ' +
    'reason than dropOldest. All others get everything, so neither the engine nor the process is slow.',

  async run(system) {
    const connections: Connection[] = []
    const options = { slowConsumer: 'dropOldest', maxBufferedBytes: LIMIT_BYTES } as const
    const instance = await system.serve('chat-1', options, {
      onOpen: (conn) => void connections.push(conn),
    })
    const { hub, url } = instance
    const clients = await system.connect(url, SLOW)
    await system.until('they are open', () => connections.length === SLOW)
    const slow = [...connections]
    await system.connect(url, CLIENTS - SLOW)
    const message = Buffer.alloc(BYTES, 'x')
    const traffic = () => void hub.broadcast(message)
    await system.ticks(24, traffic)

    system.faultBegins('two clients stop reading')
    for (const client of clients) client.pause()
    // The sockets of both sides keep some megabytes, which would take a long time to fill.
    for (const conn of slow) {
      while (conn.bufferedBytes < LIMIT_BYTES / 2) {
        for (let count = 0; count < 4; count++) conn.sendBinary(message)
        await setImmediate()
      }
    }
    await system.ticks(50, traffic)
    await system.screenshot(instance, traffic)
    await system.ticks(10, traffic)

    system.repaired('they read again')
    for (const client of clients) client.resume()
    await system.ticks(36, traffic)
  },
}
