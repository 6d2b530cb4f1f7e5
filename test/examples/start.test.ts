import { afterEach, describe, expect, it } from 'vitest'
import { Client, Process } from './support.ts'

const servers = ['chat', 'login'].flatMap((name) =>
  ['fastify', 'express', 'koa'].map((framework) => `examples/${name}/${framework}.ts`),
)

describe('Starting an example', () => {
  let example: Process | undefined

  afterEach(() => example?.kill('SIGKILL'))

  describe.each([...servers, 'examples/graphql/fastify.ts', 'examples/echo.ts'])('%s', (file) => {
    it('prints its address, and ends with code 0 on SIGTERM', async () => {
      example = new Process(file)
      await fetch(await example.url())

      example.kill('SIGTERM')
      expect(await example.exit()).toEqual([0, null])
    })
  })

  it('closes the connections of its clients with 1001 on SIGINT', async () => {
    example = Process.withTsx('examples/chat/fastify.ts')
    const client = await Client.open({ url: await example.url() }, '/chat')

    example.kill('SIGINT')
    expect(await client.closed()).toMatch(/^1001/)
    expect(await example.exit()).toEqual([0, null])
  })
})
