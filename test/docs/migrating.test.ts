import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { WAIT_MS } from '../support/in-time.ts'
import { PagePrograms } from './page-program.ts'

describe.each(['docs/migrating-from-express-ws.md', 'docs/migrating-from-fastify-websocket.md'])(
  'the servers of %s',
  (page) => {
    let programs: PagePrograms

    beforeAll(async () => {
      programs = await PagePrograms.ofSources(page)
    })

    afterEach(() => programs.stopAll())
    afterAll(() => programs.remove())

    it.each(['before.mjs', 'after.mjs'])(
      'pass messages on in their room, and only there: %s',
      async (name) => {
        const url = await programs.run(name).line()
        const clients = await Promise.all(
          ['tea', 'tea', 'coffee'].map((room) => connected(`${url}/chat/${room}`)),
        )
        const [ada, bob, eve] = clients
        ada?.send('hello')
        expect(await Promise.all([ada, bob].map(nextText))).toEqual(['hello', 'hello'])
        eve?.send('anybody here?')
        expect(await nextText(eve)).toBe('anybody here?') // and not `hello`, which was sent before
        for (const client of clients) client.terminate()
      },
    )
  },
)

describe('the programs of docs/migrating-from-socket-io.md', () => {
  let programs: PagePrograms

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/migrating-from-socket-io.md')
  })

  afterEach(() => programs.stopAll())
  afterAll(() => programs.remove())

  it.each(['before', 'after'])('print the same conversation: %s', async (version) => {
    await programs.run(`${version}.mjs`).line()
    const ada = programs.run(`${version}-client.mjs`, ['ada'])
    expect(await ada.line()).toBe('ada joined')
    const bob = programs.run(`${version}-client.mjs`, ['bob'])
    expect([await ada.line(), await ada.line()]).toEqual(['bob joined', 'ada: hello, bob'])
    expect([await bob.line(), await bob.line()]).toEqual(['bob joined', 'ada: hello, bob'])
  })
})

async function connected(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace('http', 'ws'))
  await once(socket, 'open')
  return socket
}

async function nextText(socket: WebSocket | undefined): Promise<string> {
  if (socket === undefined) throw new Error('there is no such client')
  const [data] = await once(socket, 'message', { signal: AbortSignal.timeout(WAIT_MS) })
  return String(data)
}
