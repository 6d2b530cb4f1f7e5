import { describe, expect, it } from 'vitest'
import { HubError } from 'wshub'
import { FaultDigest } from '../../src/base/fault-digest.ts'

describe('FaultDigest', () => {
  it('FaultDigest reports the first error of a code at once, and repeats as a count', () => {
    const reported: HubError[] = []
    const faults = new FaultDigest((error) => reported.push(error))
    const first = new HubError('WSHUB_ERR_ENVELOPE', 'one')
    const last = new HubError('WSHUB_ERR_ENVELOPE', 'three')
    const other = new HubError('WSHUB_ERR_BACKPLANE', 'away')
    for (const error of [first, new HubError('WSHUB_ERR_ENVELOPE', 'two'), other, last]) faults.add(error)
    expect(reported).toEqual([first, other])
    faults.flush()
    expect(reported.slice(2)).toEqual([
      expect.objectContaining({ code: 'WSHUB_ERR_ENVELOPE', message: '2 more: three', cause: last }),
    ])
    faults.flush()
    expect(reported).toHaveLength(3)
    faults.add(first)
    expect(reported[3]).toBe(first)
  })
})
