import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { start as startExpress } from '../../examples/login/express.ts'
import { start as startFastify } from '../../examples/login/fastify.ts'
import { start as startKoa } from '../../examples/login/koa.ts'
import type { Running } from '../../examples/run.ts'
import { anyPort, Client, refusedUpgrade } from './support.ts'

const servers = [
  { name: 'Fastify', start: startFastify },
  { name: 'Express', start: startExpress },
  { name: 'Koa', start: startKoa },
]

describe('Login', () => {
  describe.each(servers)('on $name', ({ start }) => {
    let server: Running

    beforeEach(async () => {
      server = await start(anyPort)
    })
    afterEach(() => server.close())

    function post(path: string, body: unknown, cookie = ''): Promise<Response> {
      return fetch(server.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', cookie },
        body: JSON.stringify(body),
      })
    }

    async function login(user: string): Promise<string> {
      const answer = await post('/login', { user })
      expect(answer.status).toBe(204)
      return answer.headers
        .getSetCookie()
        .map((cookie) => cookie.split(';')[0])
        .join('; ')
    }

    const open = (cookie: string) => Client.open(server, '/ws', { headers: { cookie } })

    it('serves the page', async () => {
      const answer = await fetch(server.url)
      expect(answer.status).toBe(200)
      expect(await answer.text()).toContain('<title>wshub login</title>')
    })

    it('gives a session cookie that scripts and other sites do not get', async () => {
      const answer = await post('/login', { user: 'ada' })
      const cookies = answer.headers.getSetCookie()
      expect(cookies).not.toEqual([])
      for (const cookie of cookies) {
        expect(cookie).toMatch(/; *httponly/i)
        expect(cookie).toMatch(/; *samesite=lax/i)
      }
    })

    it.each([{ user: '' }, { user: 'a b' }, { user: 7 }, { name: 'ada' }, {}, []])(
      'refuses to log in %j',
      async (body) => {
        const answer = await post('/login', body)
        expect(answer.status).toBe(401)
        expect(answer.headers.getSetCookie()).toEqual([])
      },
    )

    it('answers 401 and no 101 without a session', async () => {
      const answer = await refusedUpgrade(server, '/ws')
      expect(answer).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/)
      expect(answer).toMatch(/\r\nconnection: close\r\n/i)
      expect(server.hub.size).toBe(0)
    })

    it('answers 401 to a session cookie that it did not sign', async () => {
      const cookie = await login('ada')
      const forged = cookie.replaceAll(/=./g, (start) => (start === '=x' ? '=y' : '=x'))
      expect(await refusedUpgrade(server, '/ws', [`Cookie: ${forged}`])).toMatch(/^HTTP\/1\.1 401 /)
    })

    it('shares the session with the connection', async () => {
      const client = await open(await login('ada'))
      expect(await client.next()).toBe('Hello, ada!')
      client.send('how nice')
      expect(await client.next()).toBe('ada said: how nice')
    })

    it('closes all connections of the user who logs out, and nobody else’s', async () => {
      const [ada, bob] = await Promise.all([login('ada'), login('bob')])
      const clients = await Promise.all([open(ada), open(ada), open(bob)])
      await Promise.all(clients.map((client) => client.next()))
      const [first, second, other] = clients

      expect((await post('/logout', {}, ada)).status).toBe(204)
      expect(await first.closed()).toBe('1008 logged out')
      expect(await second.closed()).toBe('1008 logged out')

      other.send('marker')
      expect(await other.next()).toBe('bob said: marker')
    })

    it('answers 401 to the session after its logout', async () => {
      const cookie = await login('ada')
      await post('/logout', {}, cookie)
      expect(await refusedUpgrade(server, '/ws', [`Cookie: ${cookie}`])).toMatch(/^HTTP\/1\.1 401 /)
    })
  })
})
