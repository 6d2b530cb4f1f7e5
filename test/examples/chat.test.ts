import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryBackplane, MemoryBus, MemoryHistoryBus, memoryHistory, stampJson } from 'wshub'
import { start as startExpress } from '../../examples/chat/express.ts'
import { start as startFastify } from '../../examples/chat/fastify.ts'
import { start as startKoa } from '../../examples/chat/koa.ts'
import type { Running } from '../../examples/run.ts'
import { anyPort, Client, type Json } from './support.ts'

const servers = [
  { name: 'Fastify', start: startFastify },
  { name: 'Express', start: startExpress },
  { name: 'Koa', start: startKoa },
]

describe('Chat', () => {
  describe.each(servers)('on $name', ({ start }) => {
    let server: Running

    beforeEach(async () => {
      server = await start(anyPort)
    })
    afterEach(() => server.close())

    const visitor = () => Client.open(server, '/chat')

    /** Joins, and returns the messages until the client is up to date, without room lists. */
    async function join(client: Client, message: Json): Promise<Json[]> {
      client.send({ type: 'join', ...message })
      return (await client.takeJson({ type: 'resumed' })).filter(({ type }) => type !== 'rooms')
    }

    async function inRoom(room: string, name: string): Promise<Client> {
      const client = await visitor()
      await join(client, { name, room })
      return client
    }

    const takeRooms = (client: Client, rooms: Json[]) =>
      client.take(`the rooms ${JSON.stringify(rooms)}`, (data) => {
        return data === JSON.stringify({ type: 'rooms', rooms })
      })

    /** The messages that a client has received before its own marker, and that were not taken yet. */
    async function beforeMarker(client: Client): Promise<Json[]> {
      client.send({ type: 'say', text: 'marker' })
      const taken = await client.takeJson({ type: 'said', text: 'marker' })
      return taken.slice(0, -1).filter(({ type }) => type !== 'rooms')
    }

    it('serves the page', async () => {
      const answer = await fetch(server.url)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
      expect(await answer.text()).toContain('<title>wshub chat</title>')
    })

    it('answers an ordinary request for the chat with an error, as HTTP', async () => {
      const answer = await fetch(`${server.url}/chat`)
      expect(answer.status).toBe(426)
    })

    it('tells the room who joins, and the newcomer who is there', async () => {
      const ada = await inRoom('garden', 'Ada')
      const bob = await visitor()
      bob.send({ type: 'join', name: ' Bob ', room: ' garden ' })
      const [here] = (await bob.takeJson({ type: 'here' })).slice(-1)
      const [joined] = (await ada.takeJson({ type: 'joined' })).slice(-1)

      expect(here).toEqual({
        type: 'here',
        room: 'garden',
        you: joined?.id,
        people: [
          { id: expect.any(String), name: 'Ada' },
          { id: joined?.id, name: 'Bob' },
        ],
      })
      expect(joined).toEqual({
        type: 'joined',
        id: expect.any(String),
        name: 'Bob',
        sentAt: expect.any(Number),
      })
    })

    it('tells nobody of a person who comes back with the same key, and shows the key to nobody', async () => {
      // The time for which the chat waits begins to pass when the test says so.
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      onTestFinished(() => void vi.useRealTimers())
      const ada = await inRoom('garden', 'Ada')
      const join = { type: 'join', name: 'Bob', room: 'garden', key: 'secret' }
      const bob = await visitor()
      bob.send(join)
      const [here] = (await bob.takeJson({ type: 'here' })).slice(-1)
      await ada.takeJson({ type: 'joined', id: here?.you ?? '' })
      bob.terminate()
      const again = await visitor()
      again.send({ ...join, name: 'Rob' })
      expect(await again.takeJson({ type: 'here', you: here?.you ?? '' })).toBeDefined()
      const taken = await ada.takeJson({ type: 'named', id: here?.you ?? '', name: 'Rob' })
      expect(taken.filter(({ type }) => type === 'left' || type === 'joined')).toEqual([])
      expect(JSON.stringify([here, taken])).not.toContain('secret')
      again.send({ type: 'leave' })
      const passing = setInterval(() => vi.advanceTimersByTime(100), 1)
      onTestFinished(() => clearInterval(passing))
      await ada.takeJson({ type: 'left', id: here?.you ?? '' })
      clearInterval(passing)
      vi.useRealTimers()
    })

    it('shows the people of two nodes as of one', async () => {
      const bus = new MemoryBus()
      const histories = new MemoryHistoryBus()
      const startNode = () => {
        const history = { store: memoryHistory({ bus: histories }), rooms: () => ({}), stamp: stampJson }
        return start(anyPort, { backplane: new MemoryBackplane(bus), history })
      }
      const nodes = [await startNode(), await startNode()]
      try {
        const [near, far] = nodes
        if (near === undefined || far === undefined) throw new Error('two were started')
        await Promise.all(nodes.map(({ hub }) => hub.cluster.ready()))
        const ada = await Client.open(near, '/chat')
        ada.send({ type: 'join', name: 'Ada', room: 'garden' })
        await ada.takeJson({ type: 'here' })
        const bob = await Client.open(far, '/chat')
        bob.send({ type: 'join', name: 'Bob', room: 'garden' })
        const [joined] = (await ada.takeJson({ type: 'joined', name: 'Bob' })).slice(-1)
        await bob.takeJson({ type: 'joined', name: 'Ada' })
        bob.send({ type: 'who' })
        const [here] = (await bob.takeJson({ type: 'here' })).slice(-1)
        expect(Array.from(here?.people as Json[], ({ name }) => name).sort()).toEqual(['Ada', 'Bob'])
        bob.terminate()
        await ada.takeJson({ type: 'left', id: joined?.id ?? '' })
      } finally {
        await Promise.all(nodes.map((node) => node.close()))
      }
    })

    it('answers who', async () => {
      const ada = await inRoom('garden', 'Ada')
      ada.send({ type: 'who' })
      const [here] = (await ada.takeJson({ type: 'here' })).slice(-1)
      expect(here).toMatchObject({ room: 'garden', people: [{ id: here?.you, name: 'Ada' }] })
    })

    it('delivers a message to its own room only', async () => {
      const ada = await inRoom('garden', 'Ada')
      const bob = await inRoom('garden', 'Bob')
      const eve = await inRoom('kitchen', 'Eve')

      ada.send({ type: 'say', text: 'How green!' })
      const [said] = (await bob.takeJson({ type: 'said' })).slice(-1)
      expect(said).toEqual({
        at: expect.any(String),
        type: 'said',
        id: expect.any(String),
        name: 'Ada',
        text: 'How green!',
        sentAt: expect.any(Number),
      })
      await ada.takeJson({ type: 'said', text: 'How green!' })
      expect(await beforeMarker(eve)).toEqual([])
    })

    it('delivers messages in the order in which they are sent', async () => {
      const ada = await inRoom('garden', 'Ada')
      const bob = await inRoom('garden', 'Bob')
      const texts = Array.from({ length: 200 }, (_, index) => `message ${index}`)
      for (const text of texts) ada.send({ type: 'say', text })
      const said = (await bob.takeJson({ text: 'message 199' })).filter(({ type }) => type === 'said')
      expect(said.map(({ text }) => text)).toEqual(texts)
    })

    it.each([
      { how: 'says so', leave: (client: Client) => client.send({ type: 'leave' }) },
      { how: 'closes the connection', leave: (client: Client) => void client.close() },
      { how: 'vanishes', leave: (client: Client) => client.terminate() },
      {
        how: 'goes to another room',
        leave: (client: Client) => client.send({ type: 'join', name: 'Bob', room: 'kitchen' }),
      },
    ])('tells the room that somebody has left who $how', async ({ leave }) => {
      const ada = await inRoom('garden', 'Ada')
      const bob = await inRoom('garden', 'Bob')
      const [joined] = (await ada.takeJson({ type: 'joined' })).slice(-1)

      leave(bob)
      const [left] = (await ada.takeJson({ type: 'left' })).slice(-1)
      expect(left).toEqual({ type: 'left', id: joined?.id, sentAt: expect.any(Number) })

      ada.send({ type: 'who' })
      const [here] = (await ada.takeJson({ type: 'here' })).slice(-1)
      expect(here?.people).toEqual([{ id: here?.you, name: 'Ada' }])
      expect(await beforeMarker(ada)).toEqual([])
    })

    it('sends a newcomer the latest fifty messages of the room, and no notices', async () => {
      const ada = await inRoom('garden', 'Ada')
      await inRoom('garden', 'Bob')
      for (let index = 0; index < 60; index++) ada.send({ type: 'say', text: `message ${index}` })
      await ada.takeJson({ text: 'message 59' })
      const [here, ...replay] = await join(await visitor(), { name: 'Eve', room: 'garden' })
      expect(here).toMatchObject({ type: 'here', room: 'garden' })
      const texts = Array.from({ length: 50 }, (_, index) => `message ${index + 10}`)
      expect(replay.slice(0, -1).map(({ type, text }) => [type, text])).toEqual(
        texts.map((text) => ['said', text]),
      )
      expect(replay.at(-1)).toEqual({
        type: 'resumed',
        room: 'garden',
        complete: true,
        position: replay.at(-2)?.at,
      })
    })

    it('sends who comes back what was said after its position, also when nobody was in the room', async () => {
      const ada = await visitor()
      const [resumed] = (await join(ada, { name: 'Ada', room: 'garden' })).slice(-1)
      await ada.close()
      const bob = await inRoom('garden', 'Bob')
      for (const text of ['one', 'two']) bob.send({ type: 'say', text })
      const [first] = (await bob.takeJson({ type: 'said' })).slice(-1)
      await bob.takeJson({ text: 'two' })
      await bob.close()

      const back = await visitor()
      for (const { since, texts } of [
        { since: resumed?.position, texts: ['one', 'two'] },
        { since: first?.at, texts: ['two'] },
      ]) {
        const [, ...received] = await join(back, { name: 'Ada', room: 'garden', since })
        const replay = received.filter(({ type }) => type !== 'rooms')
        expect(replay.slice(0, -1).map(({ text }) => text)).toEqual(texts)
        expect(replay.at(-1)).toMatchObject({ complete: true })
      }
    })

    it.each<{ since: unknown }>([
      { since: 'another.1.0' },
      { since: 7 },
      { since: { length: 1 } },
      { since: 'x'.repeat(50_000) },
    ])('says that it is not complete, and sends the latest, for a position $since', async ({ since }) => {
      const ada = await inRoom('garden', 'Ada')
      ada.send({ type: 'say', text: 'one' })
      await ada.takeJson({ text: 'one' })
      const [, behind, said, resumed] = await join(await visitor(), { name: 'Eve', room: 'garden', since })
      expect(behind).toEqual({ type: 'behind', room: 'garden' })
      expect(said).toMatchObject({ type: 'said', text: 'one' })
      expect(resumed).toMatchObject({ type: 'resumed', room: 'garden', complete: false })
    })

    it('answers only the last of several joins that follow each other at once', async () => {
      const ada = await visitor()
      for (const [room, since] of [['garden', 'another.1.0'], ['kitchen', 'another.1.0'], ['garden']]) {
        ada.send({ type: 'join', name: 'Ada', room, since })
      }
      const all = await ada.takeJson({ type: 'resumed' })
      expect(all.filter(({ type }) => type === 'here').map(({ room }) => room)).toEqual([
        'garden',
        'kitchen',
        'garden',
      ])
      expect(all.at(-1)).toMatchObject({ room: 'garden', complete: true })
      expect(await beforeMarker(ada)).toEqual([])
    })

    it('lists the open rooms for everybody', async () => {
      const garden = { name: 'garden', people: 2 }
      const kitchen = { name: 'kitchen', people: 1 }
      const eve = await visitor()
      await inRoom('garden', 'Ada')
      await inRoom('garden', 'Bob')

      const kim = await inRoom('kitchen', 'Kim')
      await takeRooms(eve, [garden, kitchen])
      kim.send({ type: 'leave' })
      await takeRooms(eve, [garden])
    })

    it('closes all connections with 1001 when the server closes', async () => {
      const ada = await inRoom('garden', 'Ada')
      await server.close()
      expect(await ada.closed()).toMatch(/^1001/)
    })

    it.each([
      { what: 'malformed JSON', data: '{"type":' },
      { what: 'JSON that is no object', data: '42' },
      { what: 'null', data: 'null' },
      { what: 'an empty message', data: '' },
      { what: 'a binary message', data: Buffer.from('{"type":"who"}') },
      { what: 'an unknown type', data: { type: 'shout', text: 'HELLO' } },
      { what: 'a type that every object has', data: { type: 'toString' } },
      { what: 'no type', data: {} },
      { what: 'a name that is too long', data: { type: 'join', room: 'garden', name: 'x'.repeat(31) } },
      { what: 'a name of spaces', data: { type: 'join', room: 'garden', name: '   ' } },
      { what: 'a name that is no text', data: { type: 'join', room: 'garden', name: { first: 'Eve' } } },
      { what: 'a room that is missing', data: { type: 'join', name: 'Eve' } },
      { what: 'a room that is too long', data: { type: 'join', name: 'Eve', room: 'x'.repeat(31) } },
      { what: 'a text that is too long', data: { type: 'say', text: 'x'.repeat(2_001) } },
      { what: 'a text before the room is entered', data: { type: 'say', text: 'Hello?' }, outside: true },
      { what: 'who before the room is entered', data: { type: 'who' }, outside: true },
    ])('answers $what with an error and disturbs nobody else', async ({ data, outside = false }) => {
      const ada = await inRoom('garden', 'Ada')
      const eve = outside ? await visitor() : await inRoom('garden', 'Eve')
      if (!outside) await ada.takeJson({ type: 'joined', name: 'Eve' })

      eve.send(data)
      const [error] = (await eve.takeJson({ type: 'error' })).slice(-1)
      expect(error).toEqual({ type: 'error', message: expect.stringMatching(/\w.*\.$/) })
      expect(await beforeMarker(ada)).toEqual([])
      if (!outside) expect(await beforeMarker(eve)).toEqual([])
    })

    it('closes a connection that exceeds the limits of the hub, and no other', async () => {
      const ada = await inRoom('garden', 'Ada')
      const eve = await inRoom('garden', 'Eve')
      eve.send('x'.repeat(65_537))
      expect(await eve.closed()).toMatch(/^1009/)
      await ada.takeJson({ type: 'left' })
      expect(await beforeMarker(ada)).toEqual([])
    })
  })
})
