import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { start } from '../../examples/echo.ts'
import type { Running } from '../../examples/run.ts'
import { anyPort, Client } from './support.ts'

describe('Echo', () => {
  let server: Running

  beforeEach(async () => {
    server = await start(anyPort)
  })
  afterEach(() => server.close())

  describe.each([{ perMessageDeflate: false }, { perMessageDeflate: true }])('with %j', (options) => {
    it.each([
      { what: 'a text', data: 'Grüße' },
      { what: 'an empty text', data: '' },
      { what: 'bytes', data: Buffer.from([0, 255, 128]) },
      { what: 'no bytes', data: Buffer.alloc(0) },
      { what: 'a text of 16 MiB', data: 'x'.repeat(16 * 1024 * 1024) },
    ])('returns $what unchanged', async ({ data }) => {
      const client = await Client.open(server, '/', options)
      client.send(data)
      const echo = await client.next()
      expect(typeof echo).toBe(typeof data)
      expect(Buffer.compare(Buffer.from(echo ?? ''), Buffer.from(data))).toBe(0)
    })
  })

  it('answers an ordinary request with an error, as HTTP', async () => {
    const answer = await fetch(server.url)
    expect(answer.status).toBe(426)
  })
})
