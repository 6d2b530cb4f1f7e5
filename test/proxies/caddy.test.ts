import { describe, expect, it } from 'vitest'
import { caddy } from './makes.ts'
import { application, describeProxy, overTwoSeconds } from './suite.ts'
import { RunningProxy } from './support.ts'

describeProxy(caddy)

describe('The idle timeout of Caddy', () => {
  it('does not exist: a silent connection stays while the hub does not ping', async () => {
    const app = await application({ pingIntervalMs: 0 })
    const proxy = await RunningProxy.start(caddy, { app: app.port })
    const client = await proxy.connect()
    await overTwoSeconds()
    client.socket.send('marker')
    expect(await client.upTo('marker')).toEqual([])
  })
})

describe('A reload of Caddy', () => {
  it('closes open connections with 1001, and leads new ones to the new address', async () => {
    const [before, after] = [await application(), await application()]
    const proxy = await RunningProxy.start(caddy, { app: before.port })
    const client = await proxy.connect()
    await proxy.reload({ app: after.port }, () => after.requests.length > 0)
    expect(await client.closed()).toBe('1001')
    // Caddy 2.6.2 of Debian does not mask the close frame that it sends to the application.
    const end = await before.log.first('the end', (entry) => entry.startsWith('close'))
    expect(end).toMatch(/^close (1001|1002)$/)

    const other = await proxy.connect()
    other.socket.send('new')
    expect(await other.upTo('new')).toEqual([])
    expect(after.connections).toHaveLength(1)
  })
})
