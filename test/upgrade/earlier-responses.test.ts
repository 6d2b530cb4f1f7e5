import { createServer, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub, type HubOptions } from 'wshub'
import { closeServer, echo, listen as listenOn } from '../adapters/frameworks.ts'
import { destroyClients, handshake, RawClient, request, text, until } from '../support/raw.ts'

afterEach(() => destroyClients())

/** A server that leaves `/slow` unanswered: the test answers. */
async function serving(options: HubOptions = {}, find = false) {
  const hub = new Hub(options)
  const waiting: ServerResponse[] = []
  const server = createServer((req, res) => {
    if (req.url === '/ws') void hub.upgrade(req, echo)
    else if (req.url === '/slow') waiting.push(res)
    else if (req.url === '/none') res.writeHead(404).end('none')
    else res.end('page')
  })
  if (find) hub.attach()
  else hub.attach(server)
  const target = await listenOn(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    server.closeAllConnections()
    await closeServer(server)
  })
  /** Resolves with the response of `/slow`. */
  const slow = async (): Promise<ServerResponse> => {
    await until('the slow request', () => waiting.length > 0)
    const [response] = waiting.splice(0)
    if (response === undefined) throw new Error('there is no response')
    return response
  }
  return { hub, server, target, slow }
}

describe('A handshake behind a request that is not answered yet', () => {
  it.each([
    { how: 'in the same packet', gap: false, find: false },
    { how: 'in a later packet', gap: true, find: false },
    { how: 'in the same packet, of a server that was found', gap: false, find: true },
    { how: 'in a later packet, of a server that was found', gap: true, find: true },
  ])('opens behind that answer: $how', async ({ gap, find }) => {
    const { hub, target, slow } = await serving({}, find)
    const client = await RawClient.connect(target)
    const bytes = [request('/slow'), Buffer.concat([handshake(), text('at once')])] as const
    if (gap) await client.write(bytes[0])
    else await client.write(...bytes)
    const response = await slow()
    if (gap) await client.write(bytes[1])
    response.end('slow')
    expect((await client.answer()).status).toBe(200)
    await client.opened()
    expect(await client.message()).toBe('at once')
    await client.echoes()
    expect(hub.size).toBe(1)
  })

  it('opens behind an answer that is given at once', async () => {
    const { target } = await serving()
    const client = await RawClient.connect(target)
    await client.write(request('/'), handshake())
    expect((await client.answer()).body).toBe('page')
    await client.opened()
    await client.echoes()
  })

  it('gets the answer of its route behind it', async () => {
    const { target, slow } = await serving()
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), handshake('/none'))
    const response = await slow()
    response.end('slow')
    expect((await client.answer()).body).toBe('slow')
    expect((await client.lastAnswer()).status).toBe(404)
  })

  it('is not open longer than a keep-alive connection without traffic because of it', async () => {
    const { server, target, slow } = await serving()
    server.keepAliveTimeout = 20
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), handshake('/slow'))
    const first = await slow()
    first.end('first')
    expect((await client.answer()).body).toBe('first')
    const second = await slow()
    expect(second.socket?.timeout).toBe(server.timeout)
    second.end('second')
    expect((await client.lastAnswer()).body).toContain('second')
  })

  it('is not served where that answer ends the connection', async () => {
    const { hub, target, slow } = await serving()
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), handshake())
    const response = await slow()
    response.setHeader('Connection', 'close')
    response.end('slow')
    expect((await client.lastAnswer()).body).toContain('slow')
    expect(hub.size).toBe(0)
  })

  it('is refused behind that answer when the hub has been closed', async () => {
    const { hub, target, slow } = await serving()
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), handshake())
    const response = await slow()
    await hub.close()
    response.end('slow')
    expect((await client.answer()).body).toBe('slow')
    expect((await client.lastAnswer()).status).toBe(503)
  })

  it('ends the connection when that answer takes longer than upgradeTimeoutMs', async () => {
    const { target } = await serving({ limits: { upgradeTimeoutMs: 50 } })
    const client = await RawClient.connect(target)
    await client.write(request('/slow'), handshake())
    await client.ended()
  })

  describe('on a server with another upgrade listener', () => {
    it('opens behind that answer, though the other one refuses it', async () => {
      const { server, target, slow } = await serving()
      server.on('upgrade', (_req, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      const client = await RawClient.connect(target)
      await client.write(request('/slow'), handshake())
      const response = await slow()
      response.end('slow')
      expect((await client.answer()).body).toBe('slow')
      await client.opened()
      await client.echoes()
    })

    it('has the refusal of the other one behind that answer where no route takes it', async () => {
      const { server, target, slow } = await serving()
      server.on('upgrade', (_req, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      const client = await RawClient.connect(target)
      await client.write(request('/slow'), handshake('/none'))
      const response = await slow()
      response.end('slow')
      expect((await client.answer()).body).toBe('slow')
      expect((await client.lastAnswer()).status).toBe(400)
    })
  })
})
