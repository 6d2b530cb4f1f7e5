// Checked by `npm run types`, and never run: a view of a connection fits where a library expects a WebSocket.
import type { IncomingMessage } from 'node:http'
import type { Hocuspocus } from '@hocuspocus/server'
import { initTRPC } from '@trpc/server'
import { getWSConnectionHandler } from '@trpc/server/adapters/ws'
import { expectTypeOf } from 'vitest'
import type { IWebSocket } from 'vscode-ws-jsonrpc'
import { type WebSocket, WebSocketServer } from 'ws'
import { asWebSocket, type Connection, type ViewEventMap, type WebSocketView } from 'wshub'

declare const connection: Connection<{ userId: string }>
declare const req: IncomingMessage
declare const hocuspocus: Hocuspocus

const wss = new WebSocketServer({ noServer: true })
const ws = asWebSocket(connection)
expectTypeOf(ws).toEqualTypeOf<WebSocketView>()

export const asWs: WebSocket = ws
getWSConnectionHandler({ wss, router: initTRPC.create().router({}) })(ws, req)
hocuspocus.handleConnection(ws, req)
wss.emit('connection', ws, req)
wss.clients.add(ws)

ws.onmessage = ({ data, target }) => {
  expectTypeOf(data).toEqualTypeOf<string | Buffer | ArrayBuffer | Buffer[]>()
  expectTypeOf(target).toEqualTypeOf<object>()
}
ws.addEventListener('close', ({ code, reason, wasClean }) => {
  expectTypeOf([code, reason, wasClean]).toEqualTypeOf<(number | string | boolean)[]>()
})
ws.addEventListener('error', { handleEvent: ({ error }) => expectTypeOf(error).toEqualTypeOf<Error>() })
expectTypeOf<keyof ViewEventMap>().toEqualTypeOf<'open' | 'message' | 'close' | 'error'>()

ws.send('text')
ws.send(new Float32Array(1), { binary: true, compress: false }, (error) => {
  expectTypeOf(error).toEqualTypeOf<Error | undefined>()
})
ws.ping((error) => expectTypeOf(error).toEqualTypeOf<Error | undefined>())
// @ts-expect-error a Blob is sent later than the messages after it
ws.send(new Blob([]))
// @ts-expect-error an object is not turned into JSON
ws.send({ data: 1 })
// @ts-expect-error a type of browsers alone
ws.binaryType = 'blob'
// @ts-expect-error there is no socket beneath
ws._socket

export const rpc: Pick<IWebSocket, 'send'> = { send: (content) => ws.send(content) }
