import { type CallHandler, type ExecutionContext, UseFilters, UseInterceptors } from '@nestjs/common'
import { finalize, from, interval, NEVER, throwError, timeout } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { CloseCode, type Connection } from 'wshub'
import { destroyClients, Gate, text, until } from '../../support/raw.ts'
import { closeNest, startNest } from './application.ts'
import { gateway } from './decorations.ts'

afterEach(async () => {
  destroyClients()
  await closeNest()
})

const platform = 'Express'

/** Answers with its data; the counterpart of a marker. */
class Echo {
  echo(_connection: Connection, data: unknown) {
    return data
  }
}

describe('The messages of one client', () => {
  it('wait while the most allowed are handled, and all are handled in the end', async () => {
    const messages = 10_000
    const gate = new Gate()
    const handled = new Set<unknown>()
    let running = 0
    let most = 0
    class Slow extends Echo {
      async slow(_connection: Connection, data: unknown) {
        most = Math.max(most, ++running)
        await gate.opened
        running--
        handled.add(data)
      }
    }
    const app = await startNest({ platform, providers: [gateway({}, Slow)] })
    const [client, other] = [await app.client(), await app.client()]
    const events = Array.from({ length: messages }, (_, data) =>
      text(JSON.stringify({ event: 'slow', data })),
    )
    void client.raw.write(Buffer.concat(events))
    await until('the limit to be reached', () => running === 100)
    expect(await other.ask('echo', 'not stopped')).toBe('not stopped')
    expect(running).toBe(100)
    gate.open()
    expect(await client.ask('echo', 'marker')).toBe('marker')
    await until('all messages to be handled', () => handled.size === messages)
    expect(most).toBe(100)
  })

  it('run one at a time with maxPendingMessages: 1, in their order', async () => {
    const log: string[] = []
    class Slow {
      async slow(_connection: Connection, data: unknown) {
        log.push(`begins ${data}`)
        await new Promise((resolve) => setImmediate(resolve))
        log.push(`ends ${data}`)
        return data
      }
    }
    const app = await startNest({
      platform,
      providers: [gateway({}, Slow)],
      adapter: { maxPendingMessages: 1 },
    })
    const client = await app.client()
    for (const data of [1, 2, 3]) client.send('slow', data)
    for (const data of [1, 2, 3]) expect(await client.next()).toBe(data)
    expect(log).toEqual(['begins 1', 'ends 1', 'begins 2', 'ends 2', 'begins 3', 'ends 3'])
  })

  it('end by the time limit of an interceptor, which gives their places back', async () => {
    class Hanging extends Echo {
      hang() {
        return new Promise(() => {})
      }
    }
    const limit = {
      intercept: (_context: ExecutionContext, next: CallHandler) => next.handle().pipe(timeout(1)),
    }
    const app = await startNest({
      platform,
      providers: [gateway({}, Hanging, { members: { hang: [UseInterceptors(limit)] } })],
      adapter: { maxPendingMessages: 1, maxStreams: 1 },
    })
    const client = await app.client()
    for (const id of [1, 2]) {
      expect(await client.ask('hang', undefined, id)).toMatchObject({
        event: 'exception',
        data: { message: 'Internal server error' },
        id,
      })
    }
    expect(await client.ask('echo', 'still there')).toBe('still there')
  })

  it('are answered with an exception when too many observables are open', async () => {
    let open = 0
    class Streams {
      stream() {
        open++
        return NEVER.pipe(finalize(() => open--))
      }
      values() {
        return from([1, 2])
      }
      echo(_connection: Connection, data: unknown) {
        return data
      }
    }
    const app = await startNest({ platform, providers: [gateway({}, Streams)], adapter: { maxStreams: 2 } })
    const client = await app.client()
    client.send('values')
    for (const data of [1, 2]) expect(await client.next()).toBe(data)
    client.send('stream')
    client.send('stream')
    const refusal = { status: 'error', message: 'Too many streams' }
    expect(await client.ask('values', undefined, 5)).toEqual({ event: 'exception', data: refusal, id: 5 })
    expect(await client.ask('echo', 'still there')).toBe('still there')
    const other = await app.client()
    other.send('stream')
    expect(await other.ask('echo', 'marker')).toBe('marker')
    client.raw.destroy()
    await until(
      'the streams of the client to end',
      () => open === 1,
      () => `${open} open`,
    )
  })
})

describe('The observables of a connection', () => {
  it('are unsubscribed from when it ends', async () => {
    let subscribers = 0
    class Ticks {
      ticks() {
        subscribers++
        return interval(1).pipe(finalize(() => subscribers--))
      }
    }
    const app = await startNest({ platform, providers: [gateway({}, Ticks)] })
    const client = await app.client()
    client.send('ticks')
    client.send('ticks')
    await client.next()
    await until('two subscriptions', () => subscribers === 2)
    client.raw.reset()
    await until('their end', () => subscribers === 0)
  })

  it('are not subscribed to when it has ended before', async () => {
    const gate = new Gate()
    let isSubscribed = false
    let isDone = false
    class Late {
      async late() {
        await gate.opened
        setImmediate(() => {
          isDone = true
        })
        return from([1]).pipe(
          finalize(() => {
            isSubscribed = true
          }),
        )
      }
    }
    const app = await startNest({ platform, providers: [gateway({}, Late)] })
    const client = await app.client()
    client.send('late')
    client.raw.reset()
    await until('the connection to end', () => app.hub.size === 0)
    gate.open()
    await until('the handler to be done', () => isDone)
    expect(isSubscribed).toBe(false)
  })
})

describe('An error that no exception filter takes', () => {
  const filter = {
    catch(exception: unknown) {
      throw new Error('the filter failed', { cause: exception })
    },
  }
  class Failing extends Echo {
    async direct() {
      throw new Error('a bug')
    }
    stream() {
      return throwError(() => new Error('a bug'))
    }
    circular() {
      const value: { self?: unknown } = {}
      value.self = value
      return value
    }
    circulars() {
      return from([1, { big: 1n }])
    }
  }

  it.each(['direct', 'stream', 'circular', 'circulars'])(
    'goes to onError and closes the connection: %s',
    async (event) => {
      const errors: string[] = []
      const chat = gateway({}, Failing, {
        members: { direct: [UseFilters(filter)], stream: [UseFilters(filter)] },
      })
      const app = await startNest({
        platform,
        providers: [chat],
        adapter: { onError: (error) => void errors.push(error.message) },
      })
      const [client, other] = [await app.client(), await app.client()]
      client.send(event)
      if (event === 'circulars') expect(await client.next()).toBe(1)
      expect(await client.raw.closed()).toBe(CloseCode.internalError)
      expect(errors).toEqual([expect.stringMatching(/the filter failed|circular|BigInt/)])
      expect(await other.ask('echo', 'not affected')).toBe('not affected')
    },
  )
})

describe('The hooks of a gateway', () => {
  it('are waited for: messages are handled after handleConnection', async () => {
    const gate = new Gate()
    const log: string[] = []
    class Chat extends Echo {
      async handleConnection(_connection: Connection) {
        log.push('begins')
        await gate.opened
        log.push('ends')
      }
      message() {
        log.push('message')
      }
    }
    const app = await startNest({ platform, providers: [gateway({}, Chat), gateway({}, class Other {})] })
    const client = await app.client()
    client.send('message')
    await until('handleConnection to begin', () => log.length === 1)
    gate.open()
    expect(await client.ask('echo', 'marker')).toBe('marker')
    expect(log).toEqual(['begins', 'ends', 'message'])
    await app.app.get(Chat).handleConnection(app.hub.connections()[0] as Connection) // by the application itself
    expect(log.slice(3)).toEqual(['begins', 'ends'])
  })

  it.each(['throw', 'reject'])(
    'that %s are reported, and neither the process nor others end',
    async (how) => {
      const fail = (what: string) => {
        const error = new Error(`${what} failed`)
        if (how === 'throw') throw error
        return Promise.reject(error)
      }
      class Chat extends Echo {
        handleConnection(_connection: Connection, { url }: { url: string }) {
          return url === '/?bad' ? fail('handleConnection') : undefined
        }
        handleDisconnect() {
          return fail('handleDisconnect')
        }
      }
      const errors: string[] = []
      const app = await startNest({
        platform,
        providers: [gateway({}, Chat)],
        adapter: { onError: (error) => void errors.push(error.message) },
      })
      const [bad, good] = [await app.client('/?bad'), await app.client('/')]
      expect(await bad.raw.closed()).toBe(CloseCode.internalError)
      expect(await good.ask('echo', 'not affected')).toBe('not affected')
      await until('the errors to be reported', () => errors.length === 2)
      expect(errors).toEqual(['handleConnection failed', 'handleDisconnect failed'])
    },
  )
})

describe('An answer', () => {
  it('that comes after the end of the connection is dropped', async () => {
    const gate = new Gate()
    const sent: unknown[] = []
    class Late {
      async late(connection: Connection & { emit(event: string): boolean }) {
        await gate.opened
        sent.push(connection.emit('event'))
        return 'late'
      }
    }
    const errors: Error[] = []
    const app = await startNest({
      platform,
      providers: [gateway({}, Late)],
      adapter: { onError: (error) => void errors.push(error) },
    })
    const client = await app.client()
    client.send('late')
    client.raw.reset()
    await until('the connection to end', () => app.hub.size === 0)
    gate.open()
    await until('the handler to go on', () => sent.length === 1)
    expect(sent).toEqual([false])
    await app.app.close()
    expect(errors).toEqual([])
  })

  it('has the format of the adapter, and so does a message', async () => {
    const app = await startNest({
      platform,
      providers: [gateway({}, Echo)],
      adapter: {
        parse: (message) => {
          const [event = '', data] = String(message.data).split(' ')
          if (event === 'throw') throw new Error('no message')
          return event === 'none' ? undefined : { event, data }
        },
        format: (answer) => Buffer.from(`<${answer}>`),
      },
    })
    const { raw } = await app.client()
    for (const line of ['throw', 'none', 'other x', 'echo x']) raw.send(line)
    const { opcode, payload } = await raw.frame()
    expect([opcode, payload.toString()]).toEqual([2, '<x>'])
  })

  it.each([
    ['parse', { parse: async () => Promise.reject(new Error('no JSON')) }],
    ['format', { format: async () => Promise.reject(new Error('no answer')) }],
  ])('is not waited for: %s that is async is an error of the application', async (name, options) => {
    const errors: Error[] = []
    const app = await startNest({
      platform,
      providers: [gateway({}, Echo)],
      adapter: { ...options, onError: (error: Error) => void errors.push(error) } as never, // wrong in JavaScript
    })
    const client = await app.client()
    client.send('echo', 'x')
    expect(await client.raw.closed()).toBe(CloseCode.internalError)
    expect(errors).toMatchObject([
      { message: `the option ${name} is synchronous: it must not return a promise` },
    ])
  })
})
