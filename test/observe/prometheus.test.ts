import { register as globalRegister, type OpenMetricsContentType, Registry } from 'prom-client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub, instruments, memoryHistory } from 'wshub'
import { hubMetrics } from 'wshub/prometheus'
import { serve, thrownBy } from '../support/hub-server.ts'

/** The lines of a scrape, without comments. */
async function scrape(register: Registry): Promise<string[]> {
  return (await register.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

/** The value of the line that begins with this name and these labels. */
function valueIn(lines: readonly string[], series: string): number {
  const line = lines.find((each) => each.startsWith(`${series} `))
  if (line === undefined) throw new Error(`no ${series} in:\n${lines.join('\n')}`)
  return Number(line.slice(series.length + 1))
}

describe('hubMetrics', () => {
  it('shows all instruments in the global register, named as Prometheus has it, until the hub is closed', async () => {
    const { hub, connect } = await serve({
      history: { store: memoryHistory(), rooms: () => ({}) },
      presence: { rooms: () => 'members', user: () => 'ann' },
    })
    hubMetrics(hub)
    onTestFinished(() => globalRegister.clear())
    const { connection } = await connect()
    hub.joinRoom(connection, 'news')
    hub.broadcast('hello')
    const text = await globalRegister.metrics()
    expect(text.match(/^# TYPE .*/gm)).toHaveLength(instruments.length)
    expect(text).toContain(
      '# HELP wshub_rooms Rooms that have a member here.\n# TYPE wshub_rooms gauge\nwshub_rooms 1',
    )
    const lines = await scrape(globalRegister)
    expect(valueIn(lines, 'wshub_connections{state="open"}')).toBe(1)
    expect(valueIn(lines, 'wshub_upgrades_total{outcome="accepted"}')).toBe(1)
    expect(valueIn(lines, 'wshub_sent_io_bytes_total')).toBe(7)
    expect(valueIn(lines, 'wshub_buffer_utilization_ratio')).toBe(0)
    expect(valueIn(lines, 'wshub_broadcast_recipients_bucket{le="0"}')).toBe(0)
    expect(valueIn(lines, 'wshub_broadcast_recipients_bucket{le="1"}')).toBe(1)
    expect(valueIn(lines, 'wshub_broadcast_recipients_bucket{le="+Inf"}')).toBe(1)
    expect(valueIn(lines, 'wshub_broadcast_recipients_sum')).toBe(1)
    expect(valueIn(lines, 'wshub_connection_duration_seconds_count')).toBe(0)
    await hub.close()
    expect(await scrape(globalRegister)).toEqual([])
  })

  it('shows several hubs in one register, each with its labels', async () => {
    const register = new Registry()
    const [chat, trades] = [await serve(), await serve()]
    hubMetrics(chat.hub, { register, labels: { hub: 'chat' } })
    const stop = hubMetrics(trades.hub, { register, labels: { hub: 'trades' } })
    await chat.connect()
    const lines = await scrape(register)
    expect(valueIn(lines, 'wshub_connections{hub="chat",state="open"}')).toBe(1)
    expect(valueIn(lines, 'wshub_connections{hub="trades",state="open"}')).toBe(0)
    expect(valueIn(lines, 'wshub_flush_delay_seconds_bucket{hub="trades",le="+Inf"}')).toBe(0)
    expect(new Set(lines.map((line) => line.replace(/ .*/, ''))).size).toBe(lines.length)
    stop()
    stop()
    const left = await scrape(register)
    expect(left.filter((line) => line.includes('trades'))).toEqual([])
    expect(left).toHaveLength(lines.length / 2)
    hubMetrics(trades.hub, { register, labels: { hub: 'trades' } })
    expect(await scrape(register)).toHaveLength(lines.length)
  })

  it('begins names with a prefix, and works as OpenMetrics, in JSON, and after a clear or a reset', async () => {
    const register = new Registry()
    const { hub, connect } = await serve()
    hubMetrics(hub, { register, prefix: 'app_' })
    await connect()
    register.resetMetrics()
    expect(valueIn(await scrape(register), 'app_wshub_upgrades_total{outcome="accepted"}')).toBe(1)
    const json = await register.getMetricsAsJSON()
    expect(json.find(({ name }) => name === 'app_wshub_connections')).toMatchObject({
      type: 'gauge',
      values: expect.arrayContaining([{ labels: { state: 'open' }, value: 1 }]),
    })
    const aggregators = Object.fromEntries(json.map(({ name, aggregator }) => [name, aggregator]))
    expect(aggregators).toMatchObject({
      app_wshub_connections: 'sum',
      app_wshub_ping_duration_seconds: 'sum',
      app_wshub_buffer_utilization_ratio: 'max',
      app_wshub_cluster_nodes: 'max',
    })
    const open = new Registry<OpenMetricsContentType>()
    open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
    hubMetrics(hub, { register: open })
    const text = await open.metrics()
    expect(text).toContain('# TYPE wshub_upgrades counter\nwshub_upgrades_total{outcome="accepted"} 1')
    expect(text).toMatch(/# EOF\n$/)
    register.clear()
    await hub.close()
    expect(await scrape(register)).toEqual([])
  })

  it('refuses labels and names that are taken, and unknown options', async () => {
    const register = new Registry()
    const [a, b] = [new Hub(), new Hub()]
    hubMetrics(a, { register })
    const refusals = [
      () => hubMetrics(b, { register }),
      () => hubMetrics(b, { register, labels: { reason: 'mine' } }),
      () => hubMetrics(b, { register, labels: { 'no name': 'x' } }),
      () => hubMetrics(b, { register, registers: register } as object),
      () => hubMetrics(b, { register: {} } as object),
      () => hubMetrics({} as Hub, { register }),
      () => hubMetrics(b, null as unknown as object),
    ]
    for (const refused of refusals) {
      expect(thrownBy(refused)).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    }
    await a.close()
    hubMetrics(b, { register })
    hubMetrics(a, { register, labels: { hub: 'closed already' } })
    const lines = await scrape(register)
    expect(lines.filter((line) => line.includes('closed already'))).toEqual([])
    expect(lines.length).toBeGreaterThan(100)
    await b.close()
  })

  it('reads the hub once for a scrape', async () => {
    const register = new Registry()
    const { hub } = await serve()
    hubMetrics(hub, { register })
    const { stats } = hub
    let calls = 0
    hub.stats = () => {
      calls++
      return stats.call(hub)
    }
    await register.metrics()
    await register.metrics()
    expect(calls).toBe(2)
  })
})
