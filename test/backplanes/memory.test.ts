import { describe, expect, it } from 'vitest'
import { Hub, MemoryBackplane, MemoryBus } from 'wshub'
import { backplaneContract } from 'wshub/testing/backplane'
import { thrownBy } from '../support/hub-server.ts'

describe('MemoryBackplane', () => {
  const bus = new MemoryBus()
  const contract = backplaneContract({
    create: () => new MemoryBackplane(bus),
    cut: () => bus.cut(),
    restore: () => bus.restore(),
  })

  for (const { name, run } of contract) it(name, run)

  it('belongs to one hub: a second is refused, and the first keeps working', async () => {
    const [backplane, others] = [new MemoryBackplane(bus), new MemoryBackplane(bus)]
    const [hub, other] = [new Hub({ backplane }), new Hub({ backplane: others })]
    await Promise.all([hub.cluster.ready(), other.cluster.ready()])
    expect(thrownBy(() => new Hub({ backplane }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringContaining('backplane belongs to one hub'),
    })
    expect((await hub.cluster.nodes()).results).toHaveLength(2)
    await Promise.all([hub.close(), other.close()])
    expect(thrownBy(() => new Hub({ backplane }))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })

  it('has only the members of a backplane, also in JavaScript', () => {
    expect(Object.getOwnPropertyNames(MemoryBackplane.prototype).sort()).toEqual(
      ['close', 'constructor', 'publish', 'start', 'state', 'subscribe', 'unsubscribe'].sort(),
    )
    expect(Object.getOwnPropertyNames(new MemoryBackplane(bus))).toEqual([])
  })
})
