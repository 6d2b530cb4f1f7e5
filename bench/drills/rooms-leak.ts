import type { Connection } from 'wshub'
import type { Drill } from './drill.ts'

const MINUTES_A_STEP = 4
const STEPS_A_DAY = (24 * 60) / MINUTES_A_STEP

export const roomsLeak: Drill = {
  title: 'The application joins a room for each document, and does not leave it',
  stepSeconds: MINUTES_A_STEP * 60,
  tickMs: 1,
  alarms: ['WshubRoomsLeak'],
  panels: ['Rooms', 'Connections of each process'],
  verdict:
    'The number of rooms rises without end while that of the connections stays the same. In the inspector, ' +
    'all of the new rooms have one member, and their names begin alike: that is the joinRoom without a leaveRoom.',

  async run(system) {
    const connections: Connection[] = []
    const handler = { onOpen: (conn: Connection) => void connections.push(conn) }
    const instance = await system.serve('chat-1', {}, handler)
    const { hub, url } = instance
    await system.connect(url, 20)
    let document = 0
    /** Each step a few clients open another document. */
    const read = (isLeaking: boolean) => {
      for (let count = 0; count < 3; count++) {
        const conn = connections[document % connections.length]
        if (conn === undefined) throw new Error('there is no client')
        hub.joinRoom(conn, `document ${document}`)
        const last = `document ${document - connections.length}`
        if (!isLeaking) hub.leaveRoom(conn, last)
        document++
      }
    }
    for (let count = 0; count < connections.length; count++) read(false)
    await system.ticks(STEPS_A_DAY, () => read(false))
    system.faultBegins('a version without leaveRoom')
    await system.ticks(90, () => read(true))
    await system.screenshot(instance)
  },
}
