import { expect, it } from 'vitest'
import type { Connection } from 'wshub'
import { type DeferredCloses, Opening } from '../../src/connection/opening.ts'

/** An opening whose `onOpen` never settles. */
function openingForEver(): Opening<object> {
  const opening = new Opening({
    connection: {} as Connection, // only passed on
    handler: { onOpen: () => new Promise(() => {}) },
    failed: () => {},
    callbackBegan: () => {},
    callbackSettled: () => {},
  })
  opening.run(() => opening.settle({ isFlowing: true, start: () => {} }))
  return opening
}

it('no more than 10,000 closed connections wait for their onOpen where that has no time limit', () => {
  const deferred: DeferredCloses = new Set()
  const closed: number[] = []
  for (let n = 0; n < 10_002; n++) openingForEver().deferOnClose(() => closed.push(n), 0, deferred)
  expect(deferred.size).toBe(10_000)
  expect(closed).toEqual([0, 1]) // the oldest
})
