// The users of a node of the scenario `presence`, without sockets: what is measured is presence alone. Each
// contestant passes its `room`:
//
//   enter(user, room, isQuiet)   a user joins a room; returns what `exit` needs. `isQuiet`: nobody asks who
//                                is there then
//   exit(entry)                  that user leaves it

import { seededRandom } from './payload.mjs'
import { spread } from './spread.mjs'

/** Returns the calls of a node by which its users come and go. */
export function crowdCalls(node, { enter, exit }) {
  const random = seededRandom(7)
  let entries = []

  return {
    /** Users join rooms, each one room, within so many seconds. */
    async gather({ users, rooms, seconds, name, isQuiet = false }) {
      await spread(users, seconds, async (index) => {
        const place = { user: `${name}-${node}-${index}`, room: `${name}-${index % rooms}` }
        entries.push({ ...place, entry: await enter(place.user, place.room, isQuiet) })
      })
    },

    /** Users leave their rooms and join them again, one after the other: `changes` of both together. */
    async churn({ changes, seconds }) {
      let gone
      await spread(changes, seconds, async () => {
        if (gone === undefined) {
          gone = entries[Math.floor(random() * entries.length)]
          await exit(gone.entry)
          return
        }
        gone.entry = await enter(gone.user, gone.room)
        gone = undefined
      })
    },

    async scatter() {
      for (const { entry } of entries) await exit(entry)
      entries = []
    },
  }
}
