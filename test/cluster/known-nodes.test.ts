import { describe, expect, it } from 'vitest'
import { KnownNodes } from '../../src/cluster/known-nodes.ts'

describe('KnownNodes', () => {
  it('forgets a node after its time of silence, and tells so once', () => {
    const peers = new KnownNodes(2)
    peers.heartbeatOf('a')
    expect([peers.beat(), peers.beat()]).toEqual([[], []])
    peers.heartbeatOf('b')
    expect(peers.ids()).toEqual(['a', 'b'])
    expect(peers.beat()).toEqual(['a'])
    expect([peers.beat(), peers.beat()]).toEqual([[], ['b']])
    expect(peers.size).toBe(0)
  })

  it('gives a node its full time again with each sign of life, and all of them with a refresh', () => {
    const peers = new KnownNodes(1)
    peers.heartbeatOf('a')
    peers.heartbeatOf('b')
    peers.beat()
    peers.heartbeatOf('a')
    expect(peers.beat()).toEqual(['b'])
    peers.resetSilence()
    expect(peers.beat()).toEqual([])
    expect(peers.beat()).toEqual(['a'])
  })

  it('knows at once that a node has left', () => {
    const peers = new KnownNodes(1)
    peers.heartbeatOf('a')
    peers.leave('a')
    expect(peers.has('a')).toBe(false)
    expect(peers.beat()).toEqual([])
  })

  it('knows no more than 10 000', () => {
    const peers = new KnownNodes(1)
    for (let i = 0; i < 10_010; i++) peers.heartbeatOf(String(i))
    expect(peers.size).toBe(10_000)
  })
})
