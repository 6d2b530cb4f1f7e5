import { channel } from 'node:diagnostics_channel'
import { Writable } from 'node:stream'
import { fastify } from 'fastify'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Hub, HubError } from 'wshub'
import { logTo } from 'wshub/log'
import { LineLimit } from '../../adapters/log/line-limit.ts'
import { Bus } from '../support/bus.ts'
import { join } from '../support/cluster.ts'
import { eventually, handshake, Journal, RawClient, serve, thrownBy } from '../support/hub-server.ts'

interface Line {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A logger that keeps its lines. */
function keeper() {
  const lines = new Journal<Line>()
  const method = (level: string) => (fields: object, message: string) =>
    lines.push({ level, message, fields: { ...fields } })
  const logger = {
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
  }
  return { lines, logger }
}

/** Has an upgrade refused because of its origin. */
async function refused(port: number, path = '/chat?token=secret'): Promise<void> {
  const client = new RawClient(port)
  client.socket.write(handshake(['Origin: https://evil.example'], `GET ${path} HTTP/1.1`))
  await client.hungUp()
}

const CHANNELS = ['upgrade:refused', 'close', 'error', 'gap', 'cluster:state', 'hub:closed']

function subscribed(): string[] {
  return CHANNELS.filter((name) => channel(`wshub:${name}`).hasSubscribers)
}

describe('logTo', () => {
  it('writes refusals, ends and errors with their fields, and no query', async () => {
    const { lines, logger } = keeper()
    const { hub, port, connect } = await serve({}, { onMessage: () => Promise.reject(new Error('no')) })
    logTo(logger, hub)
    await refused(port)
    const { client, connection } = await connect()
    client.socket.send('x')
    await client.closed()
    await lines.until('the close', (all) => all.length === 3)
    const { node } = hub.toJSON()
    const own = { node, connection: connection.id, remoteAddress: '127.0.0.1' }
    expect(lines.all).toEqual([
      {
        level: 'info',
        message: 'upgrade refused: WSHUB_ERR_ORIGIN',
        fields: {
          node,
          code: 'WSHUB_ERR_ORIGIN',
          status: 403,
          reason: expect.stringContaining('evil.example'),
          path: '/chat',
          origin: 'https://evil.example',
          remoteAddress: '127.0.0.1',
        },
      },
      {
        level: 'error',
        message: 'error: of the application',
        fields: { ...own, err: expect.objectContaining({ message: 'no' }) },
      },
      {
        level: 'error',
        message: 'connection closed by hub: handlerError',
        fields: {
          ...own,
          code: 1011,
          openMs: expect.any(Number),
          err: expect.objectContaining({ message: 'no' }),
        },
      },
    ])
  })

  it('writes a few lines of a class, and then how many were left out', async () => {
    const { lines, logger } = keeper()
    const { hub, port, connect } = await serve()
    const stop = logTo(logger, hub, { maxLines: 2, everyMs: 60_000 })
    for (let count = 0; count < 5; count++) await refused(port)
    const { client } = await connect()
    await client.close()
    await lines.first('another class', ({ message }) => message === 'connection closed by client: normal')
    expect(lines.all.map(({ message }) => message)).toEqual([
      'upgrade refused: WSHUB_ERR_ORIGIN',
      'upgrade refused: WSHUB_ERR_ORIGIN',
      'connection closed by client: normal',
    ])
    stop()
    expect(lines.all.slice(3)).toEqual([
      {
        level: 'info',
        message: 'upgrade refused: WSHUB_ERR_ORIGIN (3 more)',
        fields: { omitted: 3, withinMs: 60_000 },
      },
    ])
    await refused(port)
    expect(lines.all).toHaveLength(4)
  })

  it('writes again when the time of the limit has passed', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const { lines, logger } = keeper()
    const limit = new LineLimit(logger, { maxLines: 1, everyMs: 50 })
    const messages = () => lines.all.splice(0).map(({ message }) => message)
    const write = (message: string) => limit.write('info', message, () => ({}))
    for (const message of ['a', 'a', 'b', 'a']) write(message)
    expect(messages()).toEqual(['a', 'b'])
    vi.advanceTimersByTime(49)
    expect(messages()).toEqual([])
    vi.advanceTimersByTime(1)
    expect(messages()).toEqual(['a (2 more)'])
    write('a')
    expect(messages()).toEqual(['a'])
    vi.advanceTimersByTime(50)
    expect({ messages: messages(), timers: vi.getTimerCount() }).toEqual({ messages: [], timers: 0 })
  })

  it('writes the changes of the cluster and the gaps', async () => {
    const bus = new Bus()
    const { hub, backplane } = await join(bus)
    const { lines, logger } = keeper()
    logTo(logger, hub)
    backplane.cut()
    await lines.first('the loss', ({ message }) => message === 'cluster reconnecting')
    backplane.restore()
    await lines.first('the return', ({ message }) => message === 'cluster connected')
    const states = lines.all.filter(({ fields }) => fields.state !== undefined)
    expect(states.map(({ level, message }) => `${level} ${message}`)).toEqual([
      'warn cluster reconnecting',
      'info cluster connected',
    ])
  })

  it('listens to nothing any more once the hub is closed, or it was stopped', async () => {
    const { logger, lines } = keeper()
    const [a, b] = [await serve(), await serve()]
    const stop = logTo(logger, a.hub)
    logTo(logger, b.hub)
    expect(subscribed()).toEqual(CHANNELS)
    stop()
    stop()
    expect(subscribed()).toEqual(CHANNELS)
    await b.hub.close()
    expect(subscribed()).toEqual([])
    logTo(logger, b.hub)
    expect(subscribed()).toEqual([])
    await refused(a.port)
    expect(lines.all.filter(({ fields }) => fields.node === a.hub.toJSON().node)).toEqual([])
  })

  it.each([
    {
      how: 'throws',
      fail: () => {
        throw new Error('disk full')
      },
    },
    { how: 'rejects', fail: () => Promise.reject(new Error('disk full')) },
    {
      how: 'throws what has no text',
      fail: () => {
        throw Object.create(null)
      },
    },
  ])('survives a logger that $how, and says so once', async ({ fail }) => {
    const warnings = new Journal<Error>()
    const hear = (warning: Error) => warnings.push(warning)
    process.on('warning', hear)
    onTestFinished(() => {
      process.off('warning', hear)
    })
    const { hub, port, connect } = await serve()
    logTo({ debug: fail, info: fail, warn: fail, error: fail }, hub)
    await refused(port)
    await refused(port)
    await warnings.first('the warning', ({ message }) => message.includes('logTo has failed'))
    const { client } = await connect()
    await client.close()
    await eventually(
      'the close',
      () => hub.size === 0,
      () => hub.size,
    )
    expect(warnings.all).toHaveLength(1)
  })

  it('refuses what is no hub, and options that are no object', async () => {
    const { logger } = keeper()
    const { hub } = await serve()
    for (const call of [
      () => logTo(logger, undefined as unknown as Hub),
      () => logTo(logger, {} as Hub),
      () => logTo(logger, hub, null as unknown as object),
      () => logTo(logger, hub, 5 as unknown as object),
    ]) {
      expect(thrownBy(call)).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    }
  })

  it('writes to pino, to the log of Fastify and to the console', async () => {
    const written = new Journal<Record<string, unknown>>()
    const stream = new Writable({
      write(chunk, _encoding, done) {
        written.push(JSON.parse(String(chunk)))
        done()
      },
    })
    const { hub, port } = await serve()
    logTo(pino(stream), hub)
    const app = fastify({ logger: { stream } })
    logTo(app.log, hub)
    logTo(console satisfies Pick<Console, 'debug'>, await closedHub())
    await refused(port)
    await written.until('both', (all) => all.length === 2)
    for (const line of written.all) {
      expect(line).toMatchObject({
        level: 30,
        msg: 'upgrade refused: WSHUB_ERR_ORIGIN',
        code: 'WSHUB_ERR_ORIGIN',
      })
    }
    await app.close()
  })

  it('refuses a logger without the methods, and options that are wrong', async () => {
    const { logger } = keeper()
    const { hub } = await serve()
    const calls = [
      () => logTo({ ...logger, warn: undefined } as never, hub),
      () => logTo(logger, Object.create(null)), // String throws for it
      () => logTo(logger, hub, { maxLines: 0 }),
      () => logTo(logger, hub, { maxLines: Object.create(null) }),
      () => logTo(logger, hub, { everyMs: 0.5 }),
      () => logTo(logger, hub, { everyMS: 5 } as object),
    ]
    for (const call of calls) expect(thrownBy(call)).toBeInstanceOf(HubError)
    expect(subscribed()).toEqual([])
  })
})

async function closedHub(): Promise<Hub> {
  const { hub } = await serve()
  await hub.close()
  return hub
}
