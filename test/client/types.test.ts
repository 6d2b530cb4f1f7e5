import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { compilerOptions, formatDiagnostics, root } from '../package/support.ts'

/** Returns the errors in a module of a page, which has the types of a browser and none of Node. */
function errorsInPage(text: string): string {
  const file = join(root, 'test/client/page.ts')
  const options = {
    ...compilerOptions(),
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    types: [],
    noUnusedLocals: false,
  }
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, version, ...rest) =>
    path === file ? ts.createSourceFile(path, text, version, true) : getSourceFile(path, version, ...rest)
  return formatDiagnostics(ts.getPreEmitDiagnostics(ts.createProgram([file], options, host)))
}

describe('The types of the client in a page', () => {
  it('make it a WebSocket', () => {
    expect(
      errorsInPage(`
        import { connect, type ReconnectingSocket } from 'wshub/client'
        const socket: WebSocket = connect('/ws', { WebSocket, protocols: ['chat'], token: () => 'x' })
        const own: ReconnectingSocket = connect(new URL('ws://localhost'))
        own.addEventListener('close', ({ retryInMs }) => retryInMs?.toFixed())
        own.onmessage = ({ data }) => JSON.parse(data)
        own.send(new Blob([]))
      `),
    ).toBe('')
  })

  it('refuse what it does not take', () => {
    const errors = errorsInPage(`
      import { connect } from 'wshub/client'
      connect('/ws', { minDelay: 1 })
      connect('/ws').send(7)
      connect('/ws').binaryType = 'nodebuffer'
      connect('/ws').onclose = (event: string) => event
    `)
    expect(errors.match(/page\.ts\(\d/g)).toEqual([3, 4, 5, 6].map((line) => `page.ts(${line}`))
  })
})
