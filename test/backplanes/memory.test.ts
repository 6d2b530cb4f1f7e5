import { describe, expect, it } from 'vitest'
import { MemoryBackplane, MemoryBus } from 'wshub'
import { backplaneContract } from 'wshub/testing/backplane'

describe('MemoryBackplane', () => {
  const bus = new MemoryBus()
  const contract = backplaneContract({
    create: () => new MemoryBackplane(bus),
    cut: () => bus.cut(),
    restore: () => bus.restore(),
  })

  for (const { name, run } of contract) it(name, run)

  it('has the members of a backplane alone, in JavaScript, too', () => {
    expect(Object.getOwnPropertyNames(MemoryBackplane.prototype).sort()).toEqual(
      ['close', 'constructor', 'publish', 'start', 'state', 'subscribe', 'unsubscribe'].sort(),
    )
    expect(Object.getOwnPropertyNames(new MemoryBackplane(bus))).toEqual([])
  })

  it('refuses a channel once it is closed', async () => {
    const backplane = new MemoryBackplane(bus)
    await backplane.start({ onMessage: () => {}, onStateChange: () => {}, onError: () => {} })
    await backplane.close()
    await expect(backplane.subscribe('a')).rejects.toThrow('The backplane is closed')
  })
})
