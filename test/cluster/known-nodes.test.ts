import { describe, expect, it } from 'vitest'
import { KnownNodes } from '../../src/cluster/known-nodes.ts'

describe('KnownNodes', () => {
  it('KnownNodes removes a node after too many silent beats, and returns it once', () => {
    const peers = new KnownNodes(2)
    peers.heartbeatOf('a')
    expect([peers.beat(), peers.beat()]).toEqual([[], []])
    peers.heartbeatOf('b')
    expect(peers.ids()).toEqual(['a', 'b'])
    expect(peers.beat()).toEqual(['a'])
    expect([peers.beat(), peers.beat()]).toEqual([[], ['b']])
    expect(peers.size).toBe(0)
  })

  it('a heartbeat ends the silence of a node, and resetSilence that of all', () => {
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

  it('KnownNodes removes a node that has left at once', () => {
    const peers = new KnownNodes(1)
    peers.heartbeatOf('a')
    peers.leave('a')
    expect(peers.has('a')).toBe(false)
    expect(peers.beat()).toEqual([])
  })

  it('KnownNodes knows at most 10 000 nodes', () => {
    const peers = new KnownNodes(1)
    for (let i = 0; i < 10_010; i++) peers.heartbeatOf(String(i))
    expect(peers.size).toBe(10_000)
  })
})
