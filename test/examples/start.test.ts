import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { Client, inTime } from './support.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const servers = ['chat', 'login'].flatMap((name) =>
  ['fastify', 'express', 'koa'].map((framework) => `examples/${name}/${framework}.ts`),
)

describe('Starting an example', () => {
  let child: ChildProcess | undefined

  afterEach(() => {
    child?.kill('SIGKILL')
  })

  describe.each([...servers, 'examples/graphql/fastify.ts', 'examples/echo.ts'])('%s', (file) => {
    it('prints its address, and ends with code 0 on SIGTERM', async () => {
      const { started, ended, output } = run(file)
      const url = await inTime('the address', started, output)
      await fetch(url)

      child?.kill('SIGTERM')
      expect(await inTime('the end', ended, output)).toEqual([0, null])
    })
  })

  it('closes the connections of its clients with 1001 on SIGINT', async () => {
    const { started, ended, output } = run('examples/chat/fastify.ts')
    const client = await Client.open({ url: await inTime('the address', started, output) }, '/chat')

    child?.kill('SIGINT')
    expect(await client.closed()).toMatch(/^1001/)
    expect(await inTime('the end', ended, output)).toEqual([0, null])
  })

  function run(file: string) {
    const server = spawn(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      env: { ...process.env, PORT: '0' },
    })
    child = server
    let text = ''
    const started = new Promise<string>((resolve) => {
      for (const stream of [server.stdout, server.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
          const [, url] = /^Listening on (http:\S+)\n/.exec(text) ?? []
          if (url !== undefined) resolve(url)
        })
      }
    })
    return { started, ended: once(server, 'exit'), output: () => text }
  }
})
