import { findPeer } from './peers.ts'
import type { Result } from './result.ts'
import type { DelayedScenario } from './scenario.ts'
import { COLUMNS, compete, newEntrant, ratioOf, rowOf } from './traffic.ts'

/** Compares messages that wait for each other with messages that do not. */
export async function runDelayed(name: string, scenario: DelayedScenario): Promise<Result> {
  const { title, writeDelaysMs, maxRatio, ...rest } = scenario
  const peer = findPeer('wshub')
  if (!peer) throw new Error('wshub is missing')
  const entrants = writeDelaysMs.map((writeDelayMs) =>
    newEntrant(`wshub, writeDelayMs ${writeDelayMs}`, peer, {
      ...rest,
      writeDelayMs,
      traffic: 'broadcast',
      rooms: 1,
      roomsPerMember: 1,
      compression: false,
      messagesPerTurn: 1,
      inFlight: 0,
    }),
  )
  await compete(entrants)
  const rows = entrants.map((entrant, index) => {
    if (index === 0) return rowOf(entrant, undefined)
    const value = ratioOf(entrant, entrants[0])
    const isLongest = index === entrants.length - 1
    return rowOf(entrant, { value, unit: '×', ...(isLongest && { atMost: maxRatio }) })
  })
  return { scenario: name, title, figure: 'server CPU per delivery, µs', columns: COLUMNS, rows }
}
