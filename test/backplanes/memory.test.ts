import { describe, it } from 'vitest'
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
})
