import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type ClientOptions, type RawData, WebSocket } from 'ws'
import { PageProgram } from '../docs/page-program.ts'
import { build } from '../package/build.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { bun } from './runtimes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const running: PageProgram[] = []

/** Starts a hub on Bun, and returns the URL of its route. */
async function start(...args: readonly string[]): Promise<{ program: PageProgram; url: string }> {
  const file = join(root, 'test/hosts/bun-server.mjs')
  const runtime = bun()
  const child = spawn(runtime.file, [...runtime.args, file, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const program = new PageProgram('bun', child)
  running.push(program)
  return { program, url: `${await program.line()}/ws` }
}

async function open(url: string): Promise<WebSocket> {
  const client = new WebSocket(url.replace('http', 'ws'))
  await once(client, 'open', { signal: AbortSignal.timeout(WAIT_MS) })
  return client
}

/** Sends something, and returns the next message. */
async function ask(client: WebSocket, data: string | Buffer): Promise<[data: RawData, isBinary: boolean]> {
  const answer = once(client, 'message', { signal: AbortSignal.timeout(WAIT_MS) })
  client.send(data)
  const [received, isBinary] = await answer
  return [received, isBinary]
}

/** Returns the status and the body of the answer to an upgrade that is refused. */
async function refused(url: string, options: ClientOptions = {}): Promise<string> {
  const client = new WebSocket(url.replace('http', 'ws'), options)
  const [, response] = await once(client, 'unexpected-response', { signal: AbortSignal.timeout(WAIT_MS) })
  let body = ''
  for await (const chunk of response) body += chunk
  return `${response.statusCode} ${body}`
}

beforeAll(build)
afterEach(async () => {
  await Promise.all(running.splice(0).map((program) => program.stop('SIGKILL')))
})

describe.each(['express', 'http'])('a hub on Bun, behind %s', (kind) => {
  it('answers messages, text and binary, short and long', async () => {
    const { url } = await start(kind, 'attached')
    const client = await open(url)
    const long = 'ü'.repeat(4_000_000) // more than the socket takes at once
    const bytes = Buffer.from([0, 255, 10])
    expect(await ask(client, 'hello')).toEqual([Buffer.from('hello'), false])
    const [echoed, isBinary] = await ask(client, long)
    expect([String(echoed) === long, isBinary]).toEqual([true, false]) // a comparison byte by byte takes minutes
    expect(await ask(client, bytes)).toEqual([bytes, true])
    client.terminate()
  })

  it('sends a message to all, and closes as the client does', async () => {
    const { url } = await start(kind, 'attached')
    const clients = [await open(url), await open(url)] as const
    const signal = AbortSignal.timeout(WAIT_MS)
    const received = clients.map((client) => once(client, 'message', { signal }))
    clients[0].send('to all')
    expect((await Promise.all(received)).map(([data]) => String(data))).toEqual(['to all', 'to all'])
    clients[0].close(4_001)
    expect((await once(clients[0], 'close', { signal }))[0]).toBe(4_001)
    clients[1].terminate()
  })

  it('answers ordinary requests, and refuses with 426 and 403', async () => {
    const { url } = await start(kind, 'attached')
    expect(await (await fetch(new URL('/', url))).text()).toBe('hello')
    const plain = await fetch(url)
    expect([plain.status, await plain.text()]).toEqual([426, 'WSHUB_ERR_NOT_UPGRADE'])
    expect(await refused(url, { origin: 'http://elsewhere.example' })).toBe('403 WSHUB_ERR_ORIGIN')
  })

  it('closes its connections with 1001 when it is closed', async () => {
    const { program, url } = await start(kind, 'attached')
    const client = await open(url)
    const closed = once(client, 'close', { signal: AbortSignal.timeout(WAIT_MS) })
    const ended = program.stop('SIGTERM')
    expect((await closed)[0]).toBe(1_001)
    expect(await ended).toBe(7)
  })

  it('says that it must be attached', async () => {
    const { url } = await start(kind)
    expect(await refused(url)).toBe('500 WSHUB_ERR_NOT_ATTACHED')
  })
})
