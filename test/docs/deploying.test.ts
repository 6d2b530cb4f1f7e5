import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { PagePrograms } from './page-program.ts'

describe('the server of docs/deploying.md', () => {
  let programs: PagePrograms

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/deploying.md')
  })

  afterAll(async () => {
    await programs.stopAll()
    programs.remove()
  })

  it('is ready, and on SIGTERM closes its clients with 1001 and ends by itself', async () => {
    const server = programs.run('server.mjs')
    const url = await server.line()
    expect((await fetch(`${url}/ready`)).status).toBe(200)
    const client = new WebSocket(`${url.replace('http', 'ws')}/ws`)
    await once(client, 'open')
    const closed = once(client, 'close')
    expect(await server.stop('SIGTERM')).toBe(0)
    expect((await closed)[0]).toBe(1001)
  })
})
