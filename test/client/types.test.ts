import { describe, expect, it } from 'vitest'
import { typeErrorsIn } from '../package/support.ts'

/** Returns the errors in a module of a page, which has the types of a browser and none of Node. */
function errorsInPage(text: string): Promise<string> {
  return typeErrorsIn(new Map([['page.ts', text]]), {
    lib: ['es2022', 'dom'],
    types: [],
    noUnusedLocals: false,
  })
}

describe('The types of the client in a page', () => {
  it('make it a WebSocket', async () => {
    expect(
      await errorsInPage(`
        import { connect, type ReconnectingSocket } from 'wshub/client'
        const socket: WebSocket = connect('/ws', { WebSocket, protocols: ['chat'], token: () => 'x' })
        const own: ReconnectingSocket = connect(new URL('ws://localhost'))
        own.addEventListener('close', ({ retryInMs }) => retryInMs?.toFixed())
        own.onmessage = ({ data }) => JSON.parse(data)
        own.send(new Blob([]))
      `),
    ).toBe('')
  })

  it('refuse what it does not take', async () => {
    const errors = await errorsInPage(`
      import { connect } from 'wshub/client'
      connect('/ws', { minDelay: 1 })
      connect('/ws').send(7)
      connect('/ws').binaryType = 'nodebuffer'
      connect('/ws').onclose = (event: string) => event
    `)
    expect(errors.match(/page\.ts\(\d/g)).toEqual([3, 4, 5, 6].map((line) => `page.ts(${line}`))
  })
})
