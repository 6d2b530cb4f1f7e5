import { AsyncLocalStorage } from 'node:async_hooks'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { type EventHandler, Hub, type HubOptions } from 'wshub'
import { Client, Journal, listen, serve, stop, thrownBy } from '../support/hub-server.ts'

const routes = new AsyncLocalStorage<string>()

/** A hub whose route runs with a store of its own for each upgrade; the callbacks say which one they see. */
async function serveRoutes(options: HubOptions, fails = false) {
  const hub = new Hub({ pingIntervalMs: 0, ...options })
  const seen = new Journal<string>()
  const see = (name: string) => seen.push(`${name} ${routes.getStore()}`)
  const handler: EventHandler = {
    onOpen: () => see('onOpen'),
    onMessage: async () => {
      see('onMessage')
      await undefined
      see('after await')
      if (fails) throw new Error('no')
    },
    onPing: () => see('onPing'),
    onError: () => see('onError'),
    onClose: () => see('onClose'),
  }
  const server = createServer((req) => {
    routes.run(req.url ?? '', () => void hub.upgrade(req, handler))
  })
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // the server listens on TCP
  return { hub, seen, open: (path: string) => Client.open(`ws://127.0.0.1:${port}${path}`) }
}

describe('The option callbackContext', () => {
  it('keeps the stores of the route in all callbacks of its connection', async () => {
    const { seen, open } = await serveRoutes({ callbackContext: true }, true)
    const [a, b] = [await open('/a'), await open('/b')]
    a.socket.ping()
    await seen.first('the ping', (entry) => entry === 'onPing /a')
    a.socket.send('x')
    await a.closed()
    await b.close()
    await seen.first('the last callback', (entry) => entry === 'onClose /b')
    await seen.first('the end of the first', (entry) => entry === 'onClose /a')
    const of = (path: string) => seen.all.filter((entry) => entry.endsWith(path))
    expect(of('/a')).toEqual(
      ['onOpen', 'onPing', 'onMessage', 'after await', 'onError', 'onClose'].map((name) => `${name} /a`),
    )
    expect(of('/b')).toEqual(['onOpen /b', 'onClose /b'])
    expect(seen.all).toHaveLength(8)
  })

  it('is off by default: messages come from the socket, which knows no route', async () => {
    const { hub, seen, open } = await serveRoutes({})
    expect(hub.options.callbackContext).toBe(false)
    const client = await open('/a')
    client.socket.send('x')
    await seen.first('the message', (entry) => entry === 'after await undefined')
  })

  it('may be a function, called in the route, which returns what calls the callbacks', async () => {
    const calls: string[] = []
    const { seen, open } = await serveRoutes({
      callbackContext: (request) => {
        calls.push(`${request?.url} in ${routes.getStore()}`)
        return (name, call) => {
          calls.push(name)
          return call()
        }
      },
    })
    const client = await open('/a')
    await client.close()
    await seen.first('the close', (entry) => entry.startsWith('onClose'))
    expect(calls).toEqual(['/a in /a', 'onOpen', 'onClose'])
  })

  it('keeps `this`, and calls a callback that a handler gets later', async () => {
    const seen = new Journal<string>()
    class Chat {
      readonly name = 'chat'
      onMessage: () => unknown = () => seen.push('the first one')
      onOpen() {
        this.onMessage = () => seen.push(this.name)
      }
    }
    const { hub } = await serve({ callbackContext: true })
    const elsewhere = await serve()
    const { client } = await elsewhere.connect()
    const socket = new WebSocket(elsewhere.url)
    onTestFinished(() => socket.terminate())
    hub.register(socket, new Chat())
    await elsewhere.log.until('both', () => elsewhere.connections.length === 2)
    elsewhere.hub.broadcast('x')
    await seen.first('the message', (entry) => entry === 'chat')
    await client.close()
  })

  it.each([
    { what: 'a promise', callbackContext: async () => Promise.reject(new Error('no')) },
    { what: 'nothing', callbackContext: () => undefined },
  ])('refuses an upgrade if the function returns $what', async ({ callbackContext }) => {
    const { url } = await serve({ callbackContext } as unknown as HubOptions) // as JavaScript may
    await expect(Client.open(url)).rejects.toThrow('500')
  })

  it('refuses anything else', () => {
    const options = { callbackContext: 'route' } as unknown as HubOptions // as JavaScript may
    expect(thrownBy(() => new Hub(options))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })
})
