import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { type EventHandler, Hub, HubError, type UpgradeInit } from 'wshub'
import { closeServer, echo, portOf } from '../adapters/frameworks.ts'
import { listen } from '../support/hub-server.ts'
import { destroyClients, RawClient } from '../support/raw.ts'

afterEach(destroyClients)

/** A server whose route upgrades after a middleware, or answers with the error of the upgrade. */
async function serving(
  middleware: (res: ServerResponse) => void,
  { handler = echo, init = {} }: { handler?: EventHandler; init?: UpgradeInit } = {},
) {
  const hub = new Hub()
  const statuses: number[] = []
  const server = createServer((req: IncomingMessage, res) => {
    middleware(res)
    try {
      void hub.upgrade(req, handler, init)
    } catch (error) {
      statuses.push(res.statusCode)
      if (error instanceof HubError) res.writeHead(error.status, error.headers).end(error.message)
      else res.writeHead(500).end('a hook threw')
    }
  })
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await closeServer(server)
  })
  return { port: portOf(server), statuses }
}

/** Replaces `writeHead` as `on-headers` does. */
function onHeaders(res: ServerResponse, hook: () => void): void {
  const { writeHead } = res
  let isCalled = false
  // The overloads of `writeHead` cannot be written as one signature.
  res.writeHead = ((status: number, ...rest: [OutgoingHttpHeaders]) => {
    res.statusCode = status
    const isFirst = !isCalled
    isCalled = true
    if (isFirst) hook()
    return writeHead.call(res, status, ...rest)
  }) as ServerResponse['writeHead']
}

describe('Middleware that sets headers while the head of a response is written', () => {
  it('sees the status 101, and its headers are sent with it', async () => {
    const seen: number[] = []
    const target = await serving((res) => {
      onHeaders(res, () => void res.setHeader('Set-Cookie', 'outer=1'))
      onHeaders(res, () => {
        seen.push(res.statusCode)
        res.setHeader('X-Inner', 'yes')
      })
    })
    const client = await RawClient.ask(target)
    const answer = await client.opened()
    expect(answer.header('set-cookie')).toBe('outer=1')
    expect(answer.header('x-inner')).toBe('yes')
    expect(seen).toEqual([101])
    await client.echoes()
  })

  it.each<[string, unknown[]]>([
    ['an object', [{ 'Set-Cookie': ['a=1', 'b=2'] }]],
    ['an object behind a message', ['Switching', { 'Set-Cookie': ['a=1', 'b=2'] }]],
    ['a list', [['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']]],
  ])('may pass the headers on as %s', async (_name, args) => {
    const target = await serving((res) => {
      const { writeHead } = res
      res.writeHead = ((status: number) =>
        Reflect.apply(writeHead, res, [status, ...args])) as ServerResponse['writeHead'] // any of its overloads
    })
    const answer = await (await RawClient.ask(target)).opened()
    expect(answer.headers.get('set-cookie')).toEqual(['a=1', 'b=2'])
  })

  it('adds its cookies to those of the route', async () => {
    const init = { headers: { 'set-cookie': 'theme=dark', 'X-Who': 'route' } }
    const target = await serving(
      (res) =>
        onHeaders(res, () => {
          res.setHeader('Set-Cookie', ['sid=1'])
          res.setHeader('x-who', 'hook')
        }),
      { init },
    )
    const answer = await (await RawClient.ask(target)).opened()
    expect(answer.headers.get('set-cookie')).toEqual(['sid=1', 'theme=dark'])
    expect(answer.headers.get('x-who')).toEqual(['route'])
  })

  it('does not run for a request that the hub refuses', async () => {
    const seen: number[] = []
    const target = await serving((res) => onHeaders(res, () => void seen.push(res.statusCode)))
    const answer = await RawClient.refused(target, '/ws', { headers: { Origin: 'https://evil.example' } })
    expect(answer.status).toBe(403)
    expect(seen).toEqual([403]) // for the answer
  })

  it('leaves the response usable for an answer if the 101 cannot be written', async () => {
    const target = await serving((res) => onHeaders(res, () => void res.setHeader('Set-Cookie', 'sid=1')), {
      init: { headers: { 'X-Bad': 'a\nb' } },
    })
    const answer = await RawClient.refused(target)
    expect([answer.status, answer.header('set-cookie')]).toEqual([500, 'sid=1'])
    expect(answer.body).toContain('X-Bad')
    expect(target.statuses).toEqual([200])
  })

  it('passes its error to the route', async () => {
    const target = await serving((res) =>
      onHeaders(res, () => {
        throw new Error('no session store')
      }),
    )
    const answer = await RawClient.refused(target)
    expect([answer.status, target.statuses]).toEqual([500, [200]])
  })
})
