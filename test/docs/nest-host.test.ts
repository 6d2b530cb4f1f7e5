import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closeCode, Guest, nextText } from './guest.ts'
import { type PageProgram, PagePrograms } from './page-program.ts'

describe('the server of docs/hosts/nest.md', () => {
  let programs: PagePrograms
  let program: PageProgram
  let url: string

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/hosts/nest.md')
    program = programs.run('chat.ts')
    url = await program.line()
  })
  afterAll(async () => {
    await programs.stopAll()
    programs.remove()
  })

  it('refuses a client without a session, a foreign page and an unknown path with errors of Nest', async () => {
    const visitor = await new Guest(url).refused('/chat')
    expect([visitor.status, JSON.parse(visitor.body)]).toEqual([
      401,
      { statusCode: 401, error: 'Unauthorized', message: 'log in first' },
    ])
    const foreign = await new Guest(url, 'user=ada').refused('/chat', { origin: 'http://elsewhere.example' })
    expect([foreign.status, JSON.parse(foreign.body)]).toEqual([
      403,
      { statusCode: 403, message: 'the origin "http://elsewhere.example" is not allowed' },
    ])
    expect((await new Guest(url, 'user=ada').refused('/nowhere')).status).toBe(404)
  })

  it('passes on what is said in a room', async () => {
    const [ada, bob] = [
      await new Guest(url, 'user=ada').open('/chat'),
      await new Guest(url, 'user=bob').open('/chat'),
    ]
    for (const guest of [ada, bob]) {
      const joined = nextText(guest)
      guest.socket.send('{"event":"join","data":"lobby"}')
      expect(JSON.parse(await joined)).toEqual({ event: 'joined', data: 'lobby' })
    }
    const received = [ada, bob].map(nextText)
    ada.socket.send('{"event":"say","data":"hello"}')
    const said = { event: 'said', data: { name: 'ada', text: 'hello' } }
    expect((await Promise.all(received)).map((text) => JSON.parse(text))).toEqual([said, said])
    for (const { socket } of [ada, bob]) socket.terminate()
  })

  it('closes its clients with 1001 on SIGTERM', async () => {
    const closed = closeCode(await new Guest(url, 'user=ada').open('/chat'))
    const ended = program.stop('SIGTERM')
    expect(await closed).toBe(1001)
    await ended
  })
})
