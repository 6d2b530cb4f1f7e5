import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closeCode, Guest, nextText } from './guest.ts'
import type { PageProgram } from './page-program.ts'

/** The answers of a page's server, in the form of the host's own errors: texts, or matchers of them. */
export interface HostAnswers {
  /** To a client that has not logged in: 401. */
  readonly loggedOut: unknown
  /** To a page of another site: 403. */
  readonly foreign: unknown
  /** To an ordinary request for the route: 426. */
  readonly plain: unknown
  /** To an upgrade on a path that nobody serves: 404. */
  readonly unknown: unknown
  /** Whether an error of the host has headers. Default true. */
  readonly hasHeaders?: boolean
}

/** A page's server that is running. */
export interface HostServer {
  readonly program: PageProgram
  readonly url: string
  /** Removes its files. */
  remove(): void
}

const FOREIGN = 'the origin "http://elsewhere.example" is not allowed'
const PLAIN = 'this is a WebSocket endpoint: the request must upgrade to websocket'

/** The answers of a host that renders an error as its message, written as `show` does. */
export function answersOf(show: (status: number, message: string) => unknown, unknown: unknown): HostAnswers {
  return {
    loggedOut: show(401, 'log in first'),
    foreign: show(403, FOREIGN),
    plain: show(426, PLAIN),
    unknown,
  }
}

/** Tests what every page's server shows. */
export function describeHost(name: string, start: () => Promise<HostServer>, answers: HostAnswers): void {
  describe(name, () => {
    let server: HostServer
    let ada: Guest
    let bob: Guest

    beforeAll(async () => {
      server = await start()
      ;[ada, bob] = await Promise.all([Guest.login(server.url, 'ada'), Guest.login(server.url, 'bob')])
    })
    afterAll(async () => {
      await server.program.stop('SIGKILL')
      server.remove()
    })

    it('upgrades behind its own middleware, whose headers are sent with the 101', async () => {
      const { socket, headers } = await ada.open()
      expect(headers['x-user']).toBe('ada')
      socket.terminate()
    })

    it('refuses a client without a session as it does any request', async () => {
      const { status, body } = await new Guest(server.url).refused()
      expect([status, body]).toEqual([401, answers.loggedOut])
    })

    it('answers with a refusal of the hub as with an error of its own', async () => {
      const { status, headers, body } = await ada.refused('/ws', { origin: 'http://elsewhere.example' })
      expect([status, headers.connection, body]).toEqual([403, 'close', answers.foreign])
      const plain = await ada.get('/ws')
      expect([plain.status, plain.headers.upgrade, plain.body]).toEqual([
        426,
        answers.hasHeaders === false ? undefined : 'websocket',
        answers.plain,
      ])
    })

    it('answers an upgrade on an unknown path itself', async () => {
      const { status, body } = await ada.refused('/nowhere')
      expect([status, body]).toEqual([404, answers.unknown])
    })

    it('passes messages on to all clients, also after other requests', async () => {
      const clients = await Promise.all([ada.open(), bob.open()])
      for (const [index, text] of ['ada: hello', 'bob: hello'].entries()) {
        const received = clients.map(nextText)
        clients[index]?.socket.send('hello')
        expect(await Promise.all(received)).toEqual([text, text])
      }
      for (const { socket } of clients) socket.terminate()
    })

    it('closes its clients with 1001 on SIGTERM, and ends', async () => {
      const closed = closeCode(await ada.open())
      const ended = server.program.stop('SIGTERM')
      expect(await closed).toBe(1001)
      expect(await ended).toBe(0)
    })
  })
}
