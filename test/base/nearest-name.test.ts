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
  ])('finds for %s the name %s', (word, name) => {
    expect(nearestName(word, names)).toBe(name)
  })

  it.each(['', 'x', 'url', 'compress', 'onFire', 'a'.repeat(100_000)])('finds no name for %.10s', (word) => {
    expect(nearestName(word, names)).toBeUndefined()
  })

  it('returns the nearest of several names', () => {
    expect(nearestName('onClos', ['onDrop', 'onClose', 'onOpen'])).toBe('onClose')
  })
})
