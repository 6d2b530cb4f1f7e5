import { describe, expect, it } from 'vitest'
import { nearestName } from '../../src/base/nearest-name.ts'

const names = ['onOpen', 'onMessage', 'onClose', 'maxConnections', 'metadata', 'pingIntervalMs', 'key']

describe('nearestName', () => {
  it.each([
    ['onmessage', 'onMessage'],
    ['onMesage', 'onMessage'],
    ['onMessgae', 'onMessage'],
    ['message', 'onMessage'],
    ['maxConnection', 'maxConnections'],
    ['max_connections', 'maxConnections'],
    ['meta', 'metadata'],
    ['pingInterval', 'pingIntervalMs'],
    ['keys', 'key'],
    ['onopened', 'onOpen'],
  ])('of %s is %s', (word, name) => {
    expect(nearestName(word, names)).toBe(name)
  })

  it.each(['', 'x', 'url', 'compress', 'onFire', 'a'.repeat(100_000)])('of %.10s is undefined', (word) => {
    expect(nearestName(word, names)).toBeUndefined()
  })

  it('returns the nearest of several names', () => {
    expect(nearestName('onClos', ['onDrop', 'onClose', 'onOpen'])).toBe('onClose')
  })
})
