import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type CloseCause, type EventHandler, Opcode } from 'wshub'
import { handshake, Journal, RawClient, serve, thrownBy } from '../support/hub-server.ts'
import { Gate } from '../support/raw.ts'

/** With these options the keepalive checks the connections every 10 ms. */
const quick = { closeTimeoutMs: 80 }
const inAWhile = () => new Date(Date.now() + 60)
const far = () => Date.now() + 3_600_000

/** A clock of the hub that the test moves; sockets and waits use the real one. */
function useClock(): { pass(ms: number): void } {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return { pass: (ms) => void vi.advanceTimersByTime(ms) }
}

describe('A connection whose credential expires', () => {
  it('is closed with 4401', async () => {
    const expiresAt = inAWhile()
    const { connect, connections } = await serve(quick, {}, { expiresAt })
    const { client } = await connect()
    expect(connections[0]?.expiresAt).toBe(expiresAt.getTime())
    expect(await client.closed()).toBe('4401 credential expired')
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime())
  })

  it.each([
    ['sync', (renew: () => void) => renew()],
    [
      'async',
      async (renew: () => void) => {
        await new Promise((resolve) => setImmediate(resolve))
        renew()
      },
    ],
  ])('stays open when onExpire renews it, %s', async (_how, run) => {
    let expired = 0
    const { connect, log } = await serve(
      quick,
      {
        onExpire: (connection) => {
          expired++
          log.push('expire')
          return run(() => connection.renew(far()))
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client, connection } = await connect()
    await log.first('onExpire', (entry) => entry === 'expire')
    client.socket.send('marker')
    await log.first('the marker', (entry) => entry === 'message marker')
    expect(connection.state).toBe('open')
    expect(expired).toBe(1)
    expect(connection.expiresAt).toBeGreaterThan(Date.now())
  })

  it('stays open when it is renewed before, or without an end', async () => {
    const { connect, log } = await serve(quick, { onExpire: () => log.push('expire') })
    const first = await connect()
    const second = await connect()
    const third = await connect()
    for (const { connection } of [first, second, third]) connection.renew(inAWhile())
    first.connection.renew(far())
    second.connection.renew(undefined)
    expect(await third.client.closed()).toBe('4401 credential expired')
    expect(second.connection.expiresAt).toBeUndefined()
    expect([first.connection.state, second.connection.state]).toEqual(['open', 'open'])
    expect(log.all.filter((entry) => entry === 'expire')).toHaveLength(1)
  })

  it('delivers nothing while onExpire is pending, and everything afterwards', async () => {
    const gate = new Gate()
    const { connect, log } = await serve(
      quick,
      {
        onExpire: async (connection) => {
          log.push('expire')
          await gate.passed()
          connection.renew(far())
          log.push('renewed')
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client, connection } = await connect()
    await log.first('onExpire', (entry) => entry === 'expire')
    client.socket.send('a')
    client.socket.send('b')
    connection.sendText('still sending')
    await client.received.first('a message', (data) => data === 'still sending')
    gate.open()
    await log.first('b', (entry) => entry === 'message b')
    expect(log.all).toEqual(['open', 'expire', 'renewed', 'message a', 'message b'])
  })

  it('is closed before a message is delivered when the credential has expired before', async () => {
    const { connectRaw, log } = await serve(
      quick,
      { onExpire: () => log.push('expire') },
      { expiresAt: Date.now() - 1 },
    )
    const text = Buffer.from('818080000000'.replace(/.{2}/g, '$& ').replaceAll(' ', ''), 'hex')
    const { client } = await connectRaw([], text)
    expect((await client.closeFrame()).code).toBe(4401)
    client.send({ opcode: Opcode.close, payload: Buffer.from([0x11, 0x31]) })
    await log.first('the end', (entry) => entry.startsWith('close'))
    expect(log.all).toEqual(['open', 'expire', 'close 4401'])
  })

  it('calls onExpire only after onOpen, whose timeout still applies', async () => {
    const { connect, log } = await serve(
      { ...quick, openTimeoutMs: 200 },
      { onOpen: () => new Promise(() => {}), onExpire: () => log.push('expire') },
      { expiresAt: inAWhile() },
    )
    const { client } = await connect()
    expect(await client.closed()).toBe('1011')
    expect(log.all.slice(0, 2)).toEqual(['open', 'error WSHUB_ERR_OPEN_TIMEOUT'])
  })

  it('is closed when onExpire does not settle within openTimeoutMs', async () => {
    const { connect } = await serve(
      { ...quick, openTimeoutMs: 100 },
      { onExpire: () => new Promise(() => {}) },
      { expiresAt: inAWhile() },
    )
    const { client } = await connect()
    expect(await client.closed()).toBe('4401 credential expired')
  })

  it.each([
    ['onExpire', { onExpire: () => new Promise(() => {}) }],
    ['onOpen', { onOpen: () => new Promise(() => {}) }],
  ] as [string, EventHandler][])(
    'is closed within 10 s when %s never settles and openTimeoutMs is 0',
    async (_name, handler) => {
      const clock = useClock()
      const causes = new Journal<CloseCause>()
      const { connect } = await serve(
        { openTimeoutMs: 0 },
        { ...handler, onClose: (_connection, _code, _reason, cause) => causes.push(cause) },
        { expiresAt: Date.now() + 5_000 },
      )
      const { client, connection } = await connect()
      clock.pass(14_000)
      connection.sendText('still open')
      await client.received.first('a message', (data) => data === 'still open')
      clock.pass(3_000)
      expect(await client.closed()).toBe('4401 credential expired')
      expect(await causes.first('the cause', () => true)).toMatchObject({ by: 'hub', reason: 'expired' })
    },
  )

  it('stays open when it is renewed while onOpen never settles and openTimeoutMs is 0', async () => {
    const clock = useClock()
    const handler = { onOpen: () => new Promise(() => {}) }
    const { connect } = await serve({ openTimeoutMs: 0 }, handler, { expiresAt: Date.now() + 5_000 })
    const { client, connection } = await connect()
    clock.pass(8_000)
    connection.renew(Date.now() + 3_600_000)
    clock.pass(20_000)
    connection.sendText('still open')
    await client.received.first('a message', (data) => data === 'still open')
  })

  it('is closed with 1011 when onExpire throws', async () => {
    const { connect, log } = await serve(
      quick,
      {
        onExpire: () => {
          throw new Error('no renewal')
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client } = await connect()
    expect(await client.closed()).toBe('1011')
    expect(log.all).toContain('error no renewal')
  })

  it('calls onExpire once and is closed when it is renewed to a time that has passed', async () => {
    let expired = 0
    const { connect } = await serve(
      quick,
      {
        onExpire: async (connection) => {
          expired++
          connection.renew(Date.now() - 1)
          await new Promise((resolve) => setTimeout(resolve, 60)) // several looks
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client } = await connect()
    expect(await client.closed()).toBe('4401 credential expired')
    expect(expired).toBe(1)
  })

  it('is terminated when it is closed during onExpire and its client does not answer', async () => {
    const { connectRaw, log } = await serve(
      quick,
      {
        onExpire: (connection) => {
          connection.close(1000, 'meanwhile')
          return new Promise(() => {})
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client } = await connectRaw()
    expect((await client.closeFrame()).code).toBe(1000)
    await client.hungUp()
    await log.first('the end', (entry) => entry === 'close 1000 meanwhile')
  })

  it('stays paused when it is renewed', async () => {
    const { connect, log } = await serve(
      quick,
      {
        onExpire: (connection) => {
          connection.renew(far())
          log.push('expire')
        },
      },
      { expiresAt: inAWhile() },
    )
    const { client, connection } = await connect()
    connection.pause()
    client.socket.send('a')
    await log.first('onExpire', (entry) => entry === 'expire')
    await new Promise((resolve) => setImmediate(resolve))
    expect(log.all).toEqual(['open', 'expire'])
    connection.resume()
    await log.first('the message', (entry) => entry === 'message a')
  })
})

describe('expiresAt', () => {
  it.each([[new Date('never')], [Number.NaN], ['tomorrow'], [{}]])(
    'is refused before the 101 when it is %s',
    async (at) => {
      const { port, refusals, hub } = await serve(quick, {}, { expiresAt: at as Date })
      const client = new RawClient(port)
      client.socket.write(handshake())
      expect(await refusals.first('the refusal', () => true)).toMatchObject({
        code: 'WSHUB_ERR_INVALID_OPTION',
      })
      expect(hub.size).toBe(0)
      await client.hungUp()
      expect(client.response).toMatch(/^HTTP\/1.1 500/)
    },
  )

  it('is refused by renew when it is no time', async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    expect(thrownBy(() => connection.renew(Number.NaN))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })
})

describe('hub.disconnect', () => {
  it('closes the connections in rooms, or those of a predicate, after what was sent to them', async () => {
    const { connect, hub } = await serve()
    const [a, b, c] = [await connect(), await connect(), await connect()]
    hub.joinRoom(a.connection, 'x')
    hub.joinRoom(b.connection, ['x', 'y'])
    hub.broadcast('before')
    expect(hub.disconnect(['x', 'y'], 4000, 'bye')).toBe(2)
    for (const { client } of [a, b]) {
      expect(await client.closed()).toBe('4000 bye')
      expect(client.received.all).toEqual(['before'])
    }
    expect(hub.disconnect((connection) => connection === c.connection)).toBe(1)
    expect(await c.client.closed()).toBe('1000')
    expect(hub.disconnect(() => true)).toBe(0)
    expect(thrownBy(() => hub.disconnect('x', 1005))).toMatchObject({ code: 'WSHUB_ERR_INVALID_CLOSE' })
  })
})
