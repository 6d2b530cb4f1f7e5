import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compiled } from '../support/compiled.ts'

export interface ChurnOptions {
  readonly rounds: number
  readonly roomsPerRound: number
}

export interface ChurnResult {
  /**
   * The growth of the heap for each room that was opened and closed, by the line of best fit; the first round
   * is a warm-up.
   */
  readonly bytesPerRoom: number
  readonly heapBytes: readonly number[]
  /** Messages of the other node that arrived, and that did not. */
  readonly received: number
  readonly lost: number
}

/** A table that is kept for each room costs 100 bytes or more; the noise of the heap is below 10. */
export const MAX_BYTES_PER_ROOM = 30

/** Opens and closes rooms in its own process, with a backplane and below every limit. */
export async function churn({ rounds, roomsPerRound }: ChurnOptions): Promise<ChurnResult> {
  const child = fork(
    compiled(fileURLToPath(new URL('room-churn.ts', import.meta.url))),
    [`${rounds}`, `${roomsPerRound}`],
    { execArgv: ['--expose-gc'] },
  )
  const report = await new Promise<Omit<ChurnResult, 'bytesPerRoom'>>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Omit<ChurnResult, 'bytesPerRoom'>)) // sent by room-churn.ts
    // At 'close', when what it has sent was received.
    child.once('close', (code) => reject(new Error(`it ended with ${code}`)))
  })
  return { ...report, bytesPerRoom: slope(report.heapBytes.slice(1)) / roomsPerRound }
}

/** Returns the slope of the line of best fit, by least squares, for a step of one. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let [up, over] = [0, 0]
  for (const [index, value] of values.entries()) {
    up += (index - middle) * (value - mean)
    over += (index - middle) ** 2
  }
  return up / over
}
