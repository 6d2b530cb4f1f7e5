import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError, type HubErrorCode } from 'wshub'
import { Bus } from '../support/bus.ts'
import { enter, join } from '../support/cluster.ts'
import { turn } from '../support/hub-server.ts'
import { quiet, stranger } from './envelopes.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('other versions', () => {
  it('envelopes of other versions are counted, reported and dropped, and not taken for a loss', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    const fake = stranger(bus)
    fake.message('wshub.r.tea', '1')
    fake.message('wshub.r.tea', 'new kind', (bytes) => bytes.writeUInt8(99, 1))
    fake.message('wshub.r.tea', '2')
    fake.message('wshub.r.tea', 'new version', (bytes) => bytes.writeUInt8(2, 0))
    await a.client.received.first('the second', (text) => text === '2')
    await quiet()
    expect(a.client.received.all).toEqual(['1', '2'])
    expect(a.gaps.all).toEqual([])
    expect(a.hub.cluster.stats()).toMatchObject({ unknown: 2, malformed: 0, received: 2, lost: 0 })
    const reports = await a.faults.until('both reports', (all) => all.length === 2)
    expect(reports.map(({ message }) => message)).toEqual([
      'a message of the cluster has an unknown kind',
      '1 more: a message of the cluster has version 2',
    ])
    expect(reports).toEqual([hubError('WSHUB_ERR_ENVELOPE_VERSION'), hubError('WSHUB_ERR_ENVELOPE_VERSION')])
  })

  it('invalid envelopes do no harm', async () => {
    const bus = new Bus()
    const a = await join(bus)
    await enter(a, 'tea')
    const channels = ['wshub.r.tea', 'wshub.c', 'wshub.a', `wshub.n.${a.hub.cluster.node}`]
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      // Begins like an envelope.
      fc
        .tuple(fc.nat(8), fc.uint8Array({ maxLength: 60 }))
        .map(([kind, tail]) => Buffer.concat([Buffer.from([1, kind, 2, 0x78, 1, 1]), tail])),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...channels), bytes, async (channel, sent) => {
        bus.inject(channel, sent)
        await turn()
      }),
      { numRuns: 2_000 },
    )
    a.hub.broadcast('end')
    await a.client.received.first('the end', (text) => text === 'end')
    expect(a.connection.state).toBe('open')
    expect(a.hub.cluster.state).toBe('connected')
    const { malformed, unknown } = a.hub.cluster.stats()
    expect(malformed).toBeGreaterThan(50)
    expect(malformed + unknown).toBeGreaterThan(800) // half of them, about, begin at random
    expect(a.faults.all.every((error) => error instanceof HubError)).toBe(true)
    expect(a.faults.all.length).toBeLessThan(1_000)
  })

  it('envelopes on a channel where they do not belong are ignored', async () => {
    const bus = new Bus()
    const a = await join(bus)
    const fake = stranger(bus)
    const own = `wshub.n.${a.hub.cluster.node}`
    fake.message(own, 'a message on the channel of a node')
    fake.message('wshub.c', 'a message on the control channel')
    fake.message('wshub.r.tea', 'a message on a channel that nobody listens to')
    await quiet()
    a.hub.broadcast('end')
    expect(await a.client.upTo('end')).toEqual([])
  })
})
