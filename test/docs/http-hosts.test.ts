import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { WAIT_MS } from '../support/in-time.ts'
import { PagePrograms } from './page-program.ts'

describe('the servers of docs/hosts/index.md', () => {
  let programs: PagePrograms

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/hosts/index.md')
  })

  afterEach(() => programs.stopAll())
  afterAll(() => programs.remove())

  it.each(['server.mjs', 'register.mjs'])('pass on a message: %s', async (name) => {
    const url = await programs.run(name).line()
    const client = new WebSocket(`${url.replace('http', 'ws')}/ws`)
    await once(client, 'open')
    client.send('hello')
    const [data] = await once(client, 'message', { signal: AbortSignal.timeout(WAIT_MS) })
    expect(String(data)).toBe('hello')
    client.terminate()
  })

  it('answer 426 to an ordinary request: server.mjs', async () => {
    const url = await programs.run('server.mjs').line()
    expect((await fetch(`${url}/ws`)).status).toBe(426)
  })
})
