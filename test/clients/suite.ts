import { describe, expect, it } from 'vitest'
import { type EventHandler, type HubOptions, Opcode } from 'wshub'
import { type HubServer, serve } from '../support/hub-server.ts'
import { Tap } from '../support/tap.ts'
import type { Command, Remote, RemoteEvent } from './remote.ts'

/** A kind of client, and the abilities that not all have. */
export interface Kind {
  readonly name: string
  /** @param origin the origin of its page */
  start(origin: string): Promise<Remote>
  /** Whether it sends messages in fragments: by itself when they are long, or on command. */
  readonly fragments: 'byItself' | 'whenTold' | 'never'
  /** Can send a ping. */
  readonly pings: boolean
  /** Compresses its messages. */
  readonly compresses: boolean
  /** Fails if the hub selects none of the subprotocols that it offered. */
  readonly insistsOnProtocol: boolean
  /** The code that it sends in a close without a code. */
  readonly plainClose: 1000 | 1005
  /** The code for the hub when the client disconnects. */
  readonly goneCode: 1001 | 1006
}

const echo: EventHandler = {
  onMessage(connection, { data }) {
    if (data === 'throw') throw new Error('thrown by the test')
    if (typeof data === 'string') connection.sendText(data)
    else connection.sendBinary(data)
  },
}

/** Every byte, as the character with its number: a command is JSON. */
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1')

/** The tests for every kind of client. */
export function describeClient(kind: Kind): void {
  async function start(
    options?: HubOptions,
  ): Promise<{ app: HubServer; tap: Tap; remote: Remote; url: string }> {
    const app = await serve(options, echo)
    const tap = await Tap.open(app.port)
    const url = `ws://127.0.0.1:${tap.port}`
    return { app, tap, url, remote: await kind.start(`http://127.0.0.1:${tap.port}`) }
  }

  async function open(options?: HubOptions) {
    const started = await start(options)
    started.remote.say({ do: 'open', url: started.url, protocols: [] })
    expect(await started.remote.next()).toMatchObject({ event: 'open' })
    const [connection] = started.app.connections
    if (connection === undefined) throw new Error('onOpen ran without a connection')
    return { ...started, connection }
  }

  /** Makes the client send a message, and expects it back. */
  async function expectEcho(
    remote: Remote,
    message: Extract<Command, { do: 'text' | 'binary' }>,
  ): Promise<void> {
    remote.say(message)
    expect(await remote.next()).toEqual({ event: message.do, data: message.data })
  }

  describe(kind.name, () => {
    it('sends and receives text, binary, empty and large messages', async () => {
      const { remote } = await open()
      await expectEcho(remote, { do: 'text', data: 'héllo 🦄' })
      await expectEcho(remote, { do: 'binary', data: BYTES })
      await expectEcho(remote, { do: 'text', data: '' })
      await expectEcho(remote, { do: 'binary', data: '' })
      await expectEcho(remote, { do: 'text', data: 'x'.repeat(65_536) })
      await expectEcho(remote, { do: 'binary', data: BYTES.repeat(256) })
    })

    it('receives several messages written in one packet as separate messages', async () => {
      const { app, remote } = await open()
      const sent = Array.from({ length: 200 }, (_, number) => `${number} ${'x'.repeat(number)}`)
      for (const data of sent) app.hub.broadcast(data)
      for (const data of sent) expect(await remote.next()).toEqual({ event: 'text', data })
    })

    it('compresses if it can, and reads compressed messages of the hub', async () => {
      const { app, tap, remote } = await open({ enableCompression: true })
      expect(tap.client.heads[0]).toMatch(/^sec-websocket-extensions: permessage-deflate/im)
      expect(tap.server.heads[0]).toMatch(/^sec-websocket-extensions: permessage-deflate/im)
      const data = 'again and '.repeat(1_000)
      for (let round = 0; round < 3; round++) await expectEcho(remote, { do: 'text', data })
      await expectEcho(remote, { do: 'text', data: '' })
      app.hub.broadcast(data)
      expect(await remote.next()).toEqual({ event: 'text', data })
      expect(tap.client.frames.all[0]).toMatchObject({ rsv1: kind.compresses, opcode: Opcode.text })
      expect(tap.server.frames.all[0]).toMatchObject({ rsv1: true, opcode: Opcode.text })
    })

    it(`sends a long message ${kind.fragments === 'byItself' ? 'in fragments' : 'in one piece'}`, async () => {
      const { tap, remote } = await open({ maxMessageSize: 1 << 20, maxBufferedBytes: 4 << 20 })
      await expectEcho(remote, { do: 'text', data: 'x'.repeat(1 << 20) })
      const isFragmented = tap.client.frames.all.some(({ fin }) => !fin)
      expect(isFragmented).toBe(kind.fragments === 'byItself')
    })

    if (kind.fragments === 'whenTold') {
      it('sends messages in fragments', async () => {
        const { tap, remote } = await open()
        remote.say({ do: 'fragments', data: ['one, ', 'two, ', '', 'three'] })
        expect(await remote.next()).toEqual({ event: 'text', data: 'one, two, three' })
        const fragments = tap.client.frames.all.filter(({ fin }) => !fin)
        expect(fragments.length).toBeGreaterThanOrEqual(3)
      })
    }

    it('answers pings with their payload', async () => {
      const { app, connection } = await open()
      connection.sendPing('are you there?')
      await app.log.first('the pong', (entry) => entry === 'pong are you there?')
    })

    it('is kept alive', async () => {
      const { app, remote } = await open({ pingIntervalMs: 40, pongTimeoutMs: 2_000 })
      await app.log.until('three pongs', (all) => all.filter((entry) => entry === 'pong').length >= 3)
      await expectEcho(remote, { do: 'text', data: 'still here' })
    })

    if (kind.pings) {
      it('gets an answer to its own pings', async () => {
        const { app, remote } = await open()
        remote.say({ do: 'ping', data: 'anybody?' })
        expect(await remote.next()).toEqual({ event: 'pong', data: 'anybody?' })
        expect(app.log.all).toContain('ping anybody?')
      })
    }

    it.each([
      [1000, 'bye'],
      [3000, 'ümläut'],
      [4999, 'x'.repeat(123)],
    ])('closes with %i and a reason', async (code, reason) => {
      const { app, remote } = await open()
      remote.say({ do: 'close', with: [code, reason] })
      expect(await remote.next()).toEqual({ event: 'close', code, reason, wasClean: true })
      await app.log.first('the close', (entry) => entry === `close ${code} ${reason}`)
    })

    it(`closes without a code: ${kind.plainClose}`, async () => {
      const { app, remote } = await open()
      remote.say({ do: 'close', with: [] })
      expect(await remote.next()).toMatchObject({ event: 'close', code: kind.plainClose, wasClean: true })
      await app.log.first('the close', (entry) => entry === `close ${kind.plainClose}`)
    })

    it('receives the code and reason of the hub, after everything sent before', async () => {
      const { app, remote, url } = await start()
      for (const [index, code] of [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4401].entries()) {
        remote.say({ do: 'open', url, protocols: [] })
        expect(await remote.next()).toMatchObject({ event: 'open' })
        const [connection] = app.hub.connections()
        connection?.sendText('last words')
        connection?.close(code, `because ${code}`)
        expect(await remote.next()).toEqual({ event: 'text', data: 'last words' })
        const closed: RemoteEvent = { event: 'close', code, reason: `because ${code}`, wasClean: true }
        expect(await remote.next()).toEqual(closed)
        await app.log.until(
          'the answer',
          (all) => all.filter((entry) => entry.startsWith('close')).length > index,
        )
      }
      expect(app.log.all.filter((entry) => entry.startsWith('close 1006'))).toEqual([])
    })

    it('gets 1011 when the handler throws, and 1006 when the connection is reset', async () => {
      const { app, remote, url } = await open()
      remote.say({ do: 'text', data: 'throw' })
      expect(await remote.next()).toMatchObject({ event: 'close', code: 1011, wasClean: true })

      remote.say({ do: 'open', url, protocols: [] })
      expect(await remote.next()).toMatchObject({ event: 'open' })
      app.connections[1]?.terminate()
      expect(await remote.next()).toMatchObject({ event: 'close', code: 1006, wasClean: false })
    })

    it('gets 1009 when its message is too big, and no other client is affected', async () => {
      const { app, remote } = await open({ maxMessageSize: 1_000 })
      const { client } = await app.connect()
      await expectEcho(remote, { do: 'binary', data: 'x'.repeat(1_000) })
      remote.say({ do: 'binary', data: 'x'.repeat(1_001) })
      expect(await remote.next()).toMatchObject({ event: 'close', code: 1009 })
      client.socket.send('marker')
      expect(await client.upTo('marker')).toEqual([])
    })

    it('agrees on the subprotocol that the hub prefers', async () => {
      const { remote, url } = await start({ protocols: ['v2', 'v1'] })
      remote.say({ do: 'open', url, protocols: ['v1', 'v2'] })
      expect(await remote.next()).toEqual({ event: 'open', protocol: 'v2' })
    })

    it(`${kind.insistsOnProtocol ? 'fails' : 'stays connected'} when the hub supports none of its subprotocols`, async () => {
      const { remote, url } = await start({ protocols: ['v1'] })
      remote.say({ do: 'open', url, protocols: ['v3'] })
      expect(await remote.next()).toEqual(
        kind.insistsOnProtocol ? { event: 'failed' } : { event: 'open', protocol: '' },
      )
    })

    it('can read the status of a refusal', async () => {
      const { app, remote, url } = await start({ maxConnections: 1 })
      await app.connect()
      remote.say({ do: 'open', url, protocols: [] })
      expect(await remote.next()).toEqual({ event: 'failed' })
      expect(await remote.status()).toBe(503)
    })

    it(`is noticed at once when it disconnects: ${kind.goneCode}`, async () => {
      const { app, remote } = await open()
      remote.leave()
      await app.log.first('the end', (entry) => entry === `close ${kind.goneCode}`)
    })
  })
}
