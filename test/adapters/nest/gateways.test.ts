import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExecutionContext,
  Inject,
  Injectable,
  ParseIntPipe,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common'
import { REQUEST } from '@nestjs/core'
import {
  Ack,
  BaseWsExceptionFilter,
  ConnectedSocket,
  MessageBody,
  WebSocketServer,
  WsException,
} from '@nestjs/websockets'
import { from, map, of, throwError } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, Hub } from 'wshub'
import { logTo } from 'wshub/log'
import type { GatewayConnection } from 'wshub/nest'
import { destroyClients, Gate, RawClient, until } from '../../support/raw.ts'
import { closeNest, PLATFORMS, startNest } from './application.ts'
import { gateway } from './decorations.ts'

afterEach(async () => {
  destroyClients()
  await closeNest()
})

describe.each(PLATFORMS)('The gateways of a Nest application over %s', (platform) => {
  const start = (...providers: Parameters<typeof gateway>[1][]) => startNest({ platform, providers })

  it('get the data of a message, and answer with what they return', async () => {
    const app = await start(
      gateway(
        { path: '/chat' },
        class Chat {
          plain(data: unknown) {
            return data
          }
          async named(data: unknown) {
            return { event: 'named', data }
          }
          nothing() {}
          async promised() {
            return 'later'
          }
        },
        { parameters: { plain: [MessageBody()], named: [MessageBody()] } },
      ),
    )
    const client = await app.client('/chat')
    expect(await client.ask('plain', { a: [1] })).toEqual({ a: [1] })
    expect(await client.ask('named', 'x')).toEqual({ event: 'named', data: 'x' })
    client.send('nothing')
    expect(await client.ask('promised')).toBe('later')
  })

  it('ignore everything that is no known event', async () => {
    const app = await start(
      gateway(
        {},
        class Chat {
          echo(_connection: Connection, data: unknown) {
            return data
          }
        },
      ),
    )
    const client = await app.client()
    const others = ['', 'no JSON', '{', 'null', '7', '"echo"', '[]', '{}', '{"event":null}', '{"event":{}}']
    for (const text of others) client.raw.send(text)
    for (const event of ['unknown', '__proto__', 'constructor', 'toString', '']) client.send(event)
    client.raw.send(JSON.stringify({ event: ['echo'], data: 1 }))
    expect(await client.ask('echo', 'marker')).toBe('marker')
  })

  it('answer with each value of an observable, in order', async () => {
    const app = await start(
      gateway(
        {},
        class Chat {
          many() {
            return from([1, 2, 3]).pipe(map((data) => ({ event: 'value', data })))
          }
          async later() {
            return of('a', null, 'b')
          }
        },
      ),
    )
    const client = await app.client()
    client.send('many')
    for (const data of [1, 2, 3]) expect(await client.next()).toEqual({ event: 'value', data })
    client.send('later')
    expect(await client.next()).toBe('a')
    expect(await client.next()).toBe('b')
  })

  it('answer a message that has an id with that id, and through the acknowledgement that they ask for', async () => {
    const app = await start(
      gateway(
        {},
        class Chat {
          plain(_connection: Connection, data: unknown) {
            return data
          }
          named(_connection: Connection, data: unknown) {
            return { event: 'other', data }
          }
          by(data: unknown, acknowledge: (answer: unknown) => void) {
            acknowledge({ seen: data })
          }
          many() {
            return of(1, 2)
          }
        },
        { parameters: { by: [MessageBody(), Ack()] } },
      ),
    )
    const client = await app.client()
    expect(await client.ask('plain', 'x', 7)).toEqual({ event: 'plain', data: 'x', id: 7 })
    expect(await client.ask('named', 'x', 'a')).toEqual({ event: 'other', data: 'x', id: 'a' })
    expect(await client.ask('by', 'x', 8)).toEqual({ event: 'by', data: { seen: 'x' }, id: 8 })
    expect(await client.ask('by', 'x')).toEqual({ event: 'by', data: { seen: 'x' } })
    client.send('many', undefined, 9)
    for (const data of [1, 2]) expect(await client.next()).toEqual({ event: 'many', data, id: 9 })
    expect(await client.ask('plain', 'x', { no: 'id' })).toBe('x')
  })

  it('answer a message that has an id with an exception of that id, however many are handled at a time', async () => {
    const gates = { first: new Gate(), second: new Gate() }
    const app = await start(
      gateway(
        {},
        class Chat {
          async fails(_connection: Connection, name: 'first' | 'second') {
            await gates[name].opened
            if (name === 'first') throw new WsException(name)
            return throwError(() => new WsException(name))
          }
          async tells(_connection: Connection, name: string) {
            for (const connection of app.hub.connections()) {
              ;(connection as GatewayConnection).emit('exception', name) // each has emit
              ;(connection as GatewayConnection).emit('other', name)
            }
          }
        },
      ),
    )
    const [client, other] = [await app.client(), await app.client()]
    const exception = (message: string) => ({
      event: 'exception',
      data: expect.objectContaining({ message }),
    })
    client.send('fails', 'first', 1)
    client.send('fails', 'second', 'b')
    client.send('fails', 'second')
    gates.second.open()
    expect(await client.next()).toEqual({ ...exception('second'), id: 'b' })
    expect(await client.next()).toEqual(exception('second'))
    gates.first.open()
    expect(await client.next()).toEqual({ ...exception('first'), id: 1 })
    other.send('tells', 'all', 2)
    expect(await client.next()).toEqual({ event: 'exception', data: 'all' })
    expect(await client.next()).toEqual({ event: 'other', data: 'all' })
    expect(await other.next()).toEqual({ event: 'exception', data: 'all', id: 2 })
  })

  it('have an exception without an id for work that goes on after its handler', async () => {
    const gate = new Gate()
    const app = await start(
      gateway(
        {},
        class Chat {
          begin(connection: GatewayConnection) {
            void gate.opened.then(() => connection.emit('exception', 'later'))
            return 'begun'
          }
        },
      ),
    )
    const client = await app.client()
    expect(await client.ask('begin', 'x', 1)).toEqual({ event: 'begin', data: 'begun', id: 1 })
    gate.open()
    expect(await client.next()).toEqual({ event: 'exception', data: 'later' })
  })

  it('run guards, pipes, interceptors and exception filters', async () => {
    const guard = {
      canActivate: (context: ExecutionContext) => context.switchToWs().getData() !== 'forbidden',
    }
    const interceptor = {
      intercept: (_context: ExecutionContext, next: CallHandler) =>
        next.handle().pipe(map((data) => ({ data }))),
    }
    class Filter extends BaseWsExceptionFilter {
      override catch(exception: unknown, host: ArgumentsHost) {
        super.catch(new WsException(`filtered: ${(exception as Error).message}`), host)
      }
    }
    Catch()(Filter)
    const app = await start(
      gateway(
        {},
        class Chat {
          guarded() {
            return 'allowed'
          }
          piped(data: unknown) {
            return { number: data }
          }
          wrapped() {
            return 'inner'
          }
          refused() {
            throw new WsException('not today')
          }
          failing() {
            throw new Error('a secret')
          }
          filtered() {
            throw new Error('a bug')
          }
          stream() {
            return throwError(() => new WsException('in a stream'))
          }
        },
        {
          parameters: { piped: [MessageBody(ParseIntPipe)] },
          members: {
            guarded: [UseGuards(guard)],
            wrapped: [UseInterceptors(interceptor)],
            filtered: [UseFilters(new Filter())],
          },
        },
      ),
    )
    const client = await app.client()
    const exception = (message: string) => ({
      event: 'exception',
      data: expect.objectContaining({ status: 'error', message }),
    })
    expect(await client.ask('guarded', 'x')).toBe('allowed')
    expect(await client.ask('guarded', 'forbidden')).toEqual(exception('Forbidden resource'))
    expect(await client.ask('piped', '12')).toEqual({ number: 12 })
    expect(await client.ask('piped', 'x')).toEqual(exception('Internal server error'))
    expect(await client.ask('wrapped')).toEqual({ data: 'inner' })
    expect(await client.ask('refused')).toEqual(exception('not today'))
    expect(await client.ask('failing')).toEqual(exception('Internal server error'))
    expect(await client.ask('filtered')).toEqual(exception('filtered: a bug'))
    expect(await client.ask('stream')).toEqual(exception('in a stream'))
  })

  it('have connections with rooms, and the hub as their server', async () => {
    class Chat {
      hub!: Hub
      join(connection: Connection, room: string) {
        return this.hub.joinRoom(connection, room)
      }
      say(connection: GatewayConnection, text: string) {
        connection.emit('said')
        this.hub.broadcastToRoomExcept('lobby', JSON.stringify({ event: 'say', data: text }), connection)
      }
    }
    const app = await start(
      gateway({}, Chat, {
        members: { hub: [WebSocketServer()] },
        parameters: { join: [ConnectedSocket(), MessageBody()], say: [ConnectedSocket(), MessageBody()] },
      }),
    )
    const [alice, bob] = [await app.client(), await app.client()]
    for (const client of [alice, bob]) expect(await client.ask('join', 'lobby')).toBe(true)
    expect(await alice.ask('say', 'hello')).toEqual({ event: 'said' })
    expect(await bob.next()).toEqual({ event: 'say', data: 'hello' })
    expect(app.hub.roomSize('lobby')).toBe(2)
    const { hub } = app.app.get(Chat)
    expect(hub.size).toBe(2)
    expect(hub.getConnection(app.hub.connections()[0]?.id ?? '')).toBe(app.hub.connections()[0])
  })

  it('have a server that tells observers the same as the hub', async () => {
    class Chat {
      hub!: Hub
    }
    const app = await start(gateway({}, Chat, { members: { hub: [WebSocketServer()] } }))
    const { hub } = app.app.get(Chat)
    const lines: string[] = []
    const line = (_fields: object, message: string) => void lines.push(message)
    const stop = logTo({ debug: line, info: line, warn: line, error: line }, hub)
    const client = await app.client()
    client.raw.close(1000)
    await until('the line', () => lines.length > 0)
    stop()
    expect(lines).toEqual([expect.stringContaining('closed')])
    expect(hub.cluster).toBe(app.hub.cluster)
  })

  it('learn of the server, of connections with their request, and of their ends with code and reason', async () => {
    const seen: unknown[] = []
    const app = await start(
      gateway(
        {},
        class Chat {
          afterInit(hub: Hub) {
            seen.push(['init', hub.size])
          }
          handleConnection(
            connection: Connection,
            request: { url: string; headers: Record<string, string> },
          ) {
            seen.push(['open', connection.state, request.url, request.headers['x-name']])
          }
          handleDisconnect(connection: Connection, reason: string) {
            seen.push([reason, connection.state])
          }
        },
      ),
    )
    const client = await RawClient.open(app, '/?a=1', { headers: { 'X-Name': 'alice' } })
    client.close(4321)
    await client.closed()
    await until(
      'the end to be told',
      () => seen.length === 3,
      () => JSON.stringify(seen),
    )
    expect(seen).toEqual([
      ['init', 0],
      ['open', 'open', '/?a=1', 'alice'],
      ['4321', 'closed'],
    ])
  })

  it('are served at different paths, several at one path, and at namespaces', async () => {
    const named = (name: string) =>
      class {
        who() {
          return name
        }
      }
    const both = class {
      both() {
        return 'second'
      }
    }
    const app = await start(
      gateway({ path: '/a' }, named('a')),
      gateway({ path: 'b/' }, named('b')),
      gateway({ path: '/a' }, both),
      gateway({ path: '/ws', namespace: 'chat' }, named('chat')),
      gateway({ path: '/ws', namespace: '/admin' }, named('admin')),
      gateway({ namespace: 'alone' }, named('alone')),
    )
    const clientA = await app.client('/a')
    expect(await clientA.ask('who')).toBe('a')
    expect(await clientA.ask('both')).toBe('second')
    for (const [path, name] of [
      ['/b', 'b'],
      ['/b?x=1', 'b'],
      ['/ws/chat', 'chat'],
      ['/ws/admin', 'admin'],
      ['/alone', 'alone'],
    ]) {
      expect(await (await app.client(path)).ask('who')).toBe(name)
    }
    for (const path of ['/', '/ws', '/ws/other', '/A', '/a/b', '//a', '/a/', '/ws//chat', '/%61', '/a/.']) {
      expect((await RawClient.refused(app, path)).status).toBe(404)
    }
  })

  it('may be of the scope of a connection, which is injected then', async () => {
    let instances = 0
    class Scoped {
      readonly #connection: Connection
      constructor(connection: Connection) {
        instances++
        this.#connection = connection
      }
      who() {
        return [this.#connection.id, this.#connection.rooms.size]
      }
      fails() {
        throw new WsException('scoped')
      }
    }
    Inject(REQUEST)(Scoped, undefined, 0)
    const app = await start(gateway({}, Scoped, { class: [Injectable({ scope: Scope.REQUEST })] }))
    const clients = [await app.client(), await app.client()]
    const ids = app.hub.connections().map(({ id }) => id)
    for (const [index, client] of clients.entries()) {
      for (let turn = 0; turn < 2; turn++) expect(await client.ask('who')).toEqual([ids[index], 0])
      expect(await client.ask('fails')).toMatchObject({ event: 'exception', data: { message: 'scoped' } })
    }
    expect(instances).toBeGreaterThanOrEqual(2)
  })

  it('each learn once of a connection at a path that they share', async () => {
    const seen: string[] = []
    const watching = (name: string) =>
      class {
        handleConnection() {
          seen.push(`${name} opens`)
        }
        handleDisconnect() {
          seen.push(`${name} ends`)
        }
      }
    const app = await start(
      gateway({ path: '/a' }, watching('one')),
      gateway({ path: '/a' }, watching('two')),
    )
    const clients = [await app.client('/a'), await app.client('/a')]
    for (const { raw } of clients) raw.close()
    await until('the ends to be told', () => seen.filter((line) => line.endsWith('ends')).length === 4)
    expect(seen.filter((line) => line === 'one opens')).toHaveLength(2)
    expect(seen.filter((line) => line === 'two opens')).toHaveLength(2)
  })
})
