import { describe, expect, it } from 'vitest'
import { DeliveryRecord } from '../../bench/delivery-record.ts'

const NONE: ReadonlySet<number> = new Set()

function recordOf(...numbers: number[]): DeliveryRecord {
  const record = new DeliveryRecord()
  for (const number of numbers) record.add(number)
  return record
}

describe('DeliveryRecord', () => {
  it('counts what arrives in order', () => {
    expect(recordOf(0, 1, 2).count(3, NONE)).toEqual({
      received: 3,
      twice: 0,
      outOfOrder: 0,
      reported: 0,
      lost: 0,
    })
  })

  it('counts what never arrives as lost, also at the end', () => {
    expect(recordOf(0, 2).count(5, NONE)).toMatchObject({ received: 2, lost: 3 })
  })

  it('counts what arrives again, early or late', () => {
    expect(recordOf(0, 1, 1, 2, 0).count(3, NONE)).toMatchObject({ received: 3, twice: 2, outOfOrder: 0 })
  })

  it('counts what arrives behind a later one', () => {
    expect(recordOf(0, 2, 1).count(3, NONE)).toMatchObject({ received: 3, twice: 0, outOfOrder: 1 })
  })

  it('does not expect what was refused', () => {
    expect(recordOf(0, 2).count(3, new Set([1]))).toMatchObject({ received: 2, lost: 0 })
  })

  it('reports what is missing between leaving and the first message afterwards', () => {
    const record = recordOf(0, 1)
    record.leave()
    record.incomplete()
    record.add(5)
    record.add(7)
    expect(record.count(8, NONE)).toMatchObject({ received: 4, reported: 3, lost: 1 })
  })

  it('reports the same when the news comes behind that message', () => {
    const record = recordOf(0, 1)
    record.leave()
    record.add(5)
    record.add(6)
    record.incomplete()
    expect(record.count(7, NONE)).toMatchObject({ received: 4, reported: 3, lost: 0 })
  })

  it('reports all that follows when nothing arrives any more', () => {
    const record = recordOf(0)
    record.leave()
    record.incomplete()
    expect(record.count(4, NONE)).toMatchObject({ received: 1, reported: 3, lost: 0 })
  })

  it('reports one gap when the client leaves twice before the next message', () => {
    const record = recordOf(0)
    record.leave()
    record.incomplete()
    record.leave()
    record.add(3)
    expect(record.count(4, NONE)).toMatchObject({ received: 2, reported: 2, lost: 0 })
  })

  it('does not report what is missing when the client was told that it is complete', () => {
    const record = recordOf(0)
    record.leave()
    record.add(2)
    expect(record.count(3, NONE)).toMatchObject({ reported: 0, lost: 1 })
  })
})
