import { describe, expect, it } from 'vitest'
import { type Hub, instruments, memoryHistory, type Reading, readInstruments } from 'wshub'
import { CLOSE_CAUSES } from '../../src/connection/close-cause.ts'
import { Bus } from '../support/bus.ts'
import { join } from '../support/cluster.ts'
import { eventually, handshake, RawClient, serve } from '../support/hub-server.ts'

/** The units that instruments have. */
const UNIT = /^(1|s|By|\{[a-z]+\})$/

function read(hub: Hub, name: string): Reading {
  const found = readInstruments(hub).find(({ instrument }) => instrument.name === name)
  if (found === undefined) throw new Error(`there is no instrument ${name}`)
  return found
}

/** The value of an instrument with these labels, in their order. */
function valueFor(hub: Hub, name: string, ...labels: string[]): number | undefined {
  return read(hub, name).samples.find((sample) => Object.values(sample.labels).join() === labels.join())
    ?.value
}

/** How many values a histogram has, and their sum. */
function countOf(hub: Hub, name: string): { count: number; sum: number } {
  const { counts = [], sum = 0 } = read(hub, name).distribution ?? {}
  return { count: counts.reduce((all, count) => all + count, 0), sum }
}

function seriesOf(hub: Hub): number {
  const counts = readInstruments(hub).map(
    ({ samples, distribution }) => samples.length + (distribution?.counts.length ?? 0),
  )
  return counts.reduce((all, count) => all + count)
}

describe('The table of instruments', () => {
  it('has each name once, in the form of OpenTelemetry, with a unit and a description', () => {
    expect(new Set(instruments.map(({ name }) => name)).size).toBe(instruments.length)
    for (const { name, unit, description } of instruments) {
      expect(name).toMatch(/^wshub(\.[a-z_]+)+$/)
      expect(unit).toMatch(UNIT)
      expect(description).toMatch(/^[A-Z1].*\.$/)
    }
  })

  it('lists all values of labels, each combination once', () => {
    for (const { series } of instruments) {
      expect(series.length).toBeGreaterThan(0)
      expect(new Set(series.map((labels) => JSON.stringify(labels))).size).toBe(series.length)
      const names = Object.keys(series[0] ?? {})
      for (const labels of series) expect(Object.keys(labels)).toEqual(names)
    }
  })

  it('gives buckets in rising order to histograms, and to no others', () => {
    for (const { kind, bounds, histogram } of instruments) {
      expect(bounds.length > 0).toBe(kind === 'histogram')
      expect(histogram !== undefined).toBe(kind === 'histogram')
      expect([...bounds].sort((a, b) => a - b)).toEqual(bounds)
    }
  })

  it('has fewer than 200 series in all', () => {
    const all = instruments.reduce((sum, { series, bounds }) => sum + series.length + bounds.length, 0)
    expect(all).toBeLessThan(200)
  })
})

describe('readInstruments', () => {
  it('reads each instrument, with a value for each of its series', async () => {
    const { hub } = await serve({
      history: { store: memoryHistory(), rooms: () => ({}) },
      presence: { rooms: () => 'members', user: () => 'ann' },
    })
    const readings = readInstruments(hub)
    expect(readings.map(({ instrument }) => instrument)).toEqual(instruments)
    for (const { instrument, samples, distribution } of readings) {
      const { kind, series } = instrument
      expect(samples.map(({ labels }) => labels)).toEqual(kind === 'histogram' ? [] : series)
      expect(distribution?.bounds ?? []).toEqual(instrument.bounds)
      for (const { value } of samples) expect(Number.isFinite(value)).toBe(true)
    }
  })

  it('has no values of history and presence in a hub without them', async () => {
    const { hub } = await serve()
    const silent = readInstruments(hub).filter(
      ({ samples, distribution }) => samples.length === 0 && distribution === undefined,
    )
    expect(silent.map(({ instrument }) => instrument.name.split('.')[1])).toEqual([
      ...Array(9).fill('history'),
      ...Array(4).fill('presence'),
    ])
  })

  it('counts upgrades, connections and their ends', async () => {
    const { hub, connect, connectRaw, port } = await serve()
    const { client } = await connect()
    const raw = await connectRaw()
    expect(valueFor(hub, 'wshub.connections', 'open')).toBe(2)
    expect(valueFor(hub, 'wshub.connections.limit')).toBe(hub.options.maxConnections)
    const foreign = new RawClient(port)
    foreign.socket.write(handshake(['Origin: https://evil.example']))
    await foreign.hungUp()
    await client.close()
    raw.client.socket.destroy()
    await eventually(
      'both to be gone',
      () => hub.size === 0,
      () => hub.size,
    )
    expect(valueFor(hub, 'wshub.upgrades', 'accepted')).toBe(2)
    expect(valueFor(hub, 'wshub.upgrades', 'WSHUB_ERR_ORIGIN')).toBe(1)
    expect(valueFor(hub, 'wshub.upgrades', 'WSHUB_ERR_HUB_FULL')).toBe(0)
    expect(valueFor(hub, 'wshub.closes', 'client', 'normal')).toBe(1)
    expect(valueFor(hub, 'wshub.closes', 'network', 'lost')).toBe(1)
    expect(valueFor(hub, 'wshub.closes', 'application', 'normal')).toBe(0)
    expect(countOf(hub, 'wshub.connection.duration').count).toBe(2)
  })

  it('names every pair of who ends a connection and why that occurs', async () => {
    const { hub, connect } = await serve({ maxMessageSize: 10 }, { onMessage: () => Promise.reject('no') })
    const ends: ((connection: (typeof ended)[number]) => void)[] = [
      ({ connection }) => connection.close(1000),
      ({ connection }) => connection.terminate(),
      ({ client }) => client.socket.send('x'),
      ({ client }) => client.socket.send('more than ten bytes'),
      ({ client }) => client.socket.terminate(),
    ]
    const ended: Awaited<ReturnType<typeof connect>>[] = []
    for (const end of ends) {
      const one = await connect()
      ended.push(one)
      end(one)
      await one.client.closed()
    }
    await eventually(
      'all to be gone',
      () => hub.size === 0,
      () => hub.size,
    )
    const occurred = hub.stats().closeCauses
    expect(occurred.map(({ by, reason }) => `${by} ${reason}`).sort()).toEqual([
      'application normal',
      'application terminated',
      'hub handlerError',
      'hub tooBig',
      'network lost',
    ])
    for (const { by, reason } of occurred) expect(CLOSE_CAUSES).toContainEqual({ by, reason })
    expect(occurred.reduce((sum, { connections }) => sum + connections, 0)).toBe(
      hub.stats().closedConnections,
    )
  })

  it('measures broadcasts, flushes and pings', async () => {
    const { hub, connect, log } = await serve()
    const [a, b] = [await connect(), await connect()]
    expect(hub.broadcast('to both')).toBe(2)
    expect(hub.broadcastToRoom('empty', 'to nobody')).toBe(0)
    hub.sendTo(a.connection, 'not a broadcast')
    await b.client.received.first('the broadcast', (data) => data === 'to both')
    expect(countOf(hub, 'wshub.broadcast.recipients')).toEqual({ count: 2, sum: 2 })
    expect(read(hub, 'wshub.broadcast.recipients').distribution?.counts.slice(0, 3)).toEqual([1, 0, 1])
    expect(countOf(hub, 'wshub.flush.delay').count).toBeGreaterThan(0)
    expect(countOf(hub, 'wshub.flush.duration').sum).toBeGreaterThanOrEqual(
      countOf(hub, 'wshub.flush.delay').sum,
    )
    expect(countOf(hub, 'wshub.ping.duration').count).toBe(0)
    a.connection.sendPing('one')
    await log.first('the pong', (entry) => entry === 'pong one')
    expect(countOf(hub, 'wshub.ping.duration').count).toBe(1)
    a.client.socket.pong('unasked')
    await log.first('the other pong', (entry) => entry === 'pong unasked')
    expect(countOf(hub, 'wshub.ping.duration').count).toBe(1)
  })

  it('shows the state of the cluster, its nodes, and how long messages take to come back', async () => {
    const bus = new Bus()
    const { hub } = await join(bus)
    await join(bus)
    await eventually(
      'the other node',
      () => valueFor(hub, 'wshub.cluster.nodes') === 2,
      () => hub.cluster.stats(),
    )
    expect(valueFor(hub, 'wshub.cluster.state', 'connected')).toBe(1)
    expect(valueFor(hub, 'wshub.cluster.state', 'reconnecting')).toBe(0)
    const { count, sum } = countOf(hub, 'wshub.cluster.loopback.duration')
    expect(count).toBeGreaterThan(0)
    expect(sum).toBeGreaterThan(0)
  })

  it('counts what is published to a room with a history, and who resumes', async () => {
    const { hub, connect } = await serve({ history: { store: memoryHistory(), rooms: () => ({}) } })
    const { connection } = await connect()
    await hub.resumeRoom(connection, 'news')
    await hub.publish('news', 'one')
    expect(valueFor(hub, 'wshub.history.published.messages', 'stored')).toBe(1)
    expect(valueFor(hub, 'wshub.history.published.io')).toBeGreaterThan(3)
    expect(valueFor(hub, 'wshub.history.cache.usage')).toBeGreaterThan(3)
    expect(valueFor(hub, 'wshub.history.resumes', 'complete')).toBe(1)
    await Promise.all([
      hub.resumeRoom(connection, 'news', { last: 1 }),
      hub.resumeRoom(connection, 'news', { last: 1 }),
    ])
    expect(valueFor(hub, 'wshub.history.resumes', 'ended')).toBe(1)
    expect(valueFor(hub, 'wshub.history.resumes', 'complete')).toBe(2)
  })

  it('has as many series with very many rooms as with none', async () => {
    const most = 1_000_000
    const { hub, connect } = await serve({ limits: { maxRoomsPerConnection: most } })
    const before = seriesOf(hub)
    const { connection } = await connect()
    const until = performance.now() + 2_000
    let rooms = 0
    while (rooms < most && performance.now() < until) {
      hub.joinRoom(
        connection,
        Array.from({ length: 1_000 }, () => `room ${rooms++}`),
      )
    }
    expect(valueFor(hub, 'wshub.rooms')).toBe(rooms)
    expect(rooms).toBeGreaterThan(10_000)
    expect(seriesOf(hub)).toBe(before)
  })
})
