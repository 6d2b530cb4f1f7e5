import { expect, it } from 'vitest'
import { churn, MAX_BYTES_PER_ROOM } from '../soak/churn.ts'

it('Rooms that come and go below every limit leave nothing on the heap of a hub with a backplane', async () => {
  const rounds = 6
  const roomsPerRound = 20_000
  const { bytesPerRoom, heapBytes, received, lost } = await churn({ rounds, roomsPerRound })
  expect({ received, lost }).toEqual({ received: rounds * roomsPerRound, lost: 0 })
  expect(bytesPerRoom, `heap by round: ${heapBytes.join(', ')}`).toBeLessThan(MAX_BYTES_PER_ROOM)
})
