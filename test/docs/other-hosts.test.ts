import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { WAIT_MS } from '../support/in-time.ts'
import { PagePrograms } from './page-program.ts'

describe('the servers of docs/other-hosts.md', () => {
  let programs: PagePrograms

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/other-hosts.md')
  })

  afterEach(() => programs.stopAll())
  afterAll(() => programs.remove())

  it.each(['server.mjs', 'hono.mjs', 'register.mjs'])('pass on a message: %s', async (name) => {
    const url = await programs.run(name).line()
    const client = new WebSocket(`${url.replace('http', 'ws')}/ws`)
    await once(client, 'open')
    client.send('hello')
    const [data] = await once(client, 'message', { signal: AbortSignal.timeout(WAIT_MS) })
    expect(String(data)).toBe('hello')
    client.terminate()
  })

  it.each(['server.mjs', 'hono.mjs'])('answer 426 to an ordinary request: %s', async (name) => {
    const url = await programs.run(name).line()
    expect((await fetch(`${url}/ws`)).status).toBe(426)
  })
})
