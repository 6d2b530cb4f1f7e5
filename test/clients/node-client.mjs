// node node-client.mjs builtin | undici: reads commands and writes events, as lines of JSON.
import { subscribe } from 'node:diagnostics_channel'
import { createInterface } from 'node:readline'
import { whatwgClient } from './whatwg-client.mjs'

const emit = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)

const { WebSocket, ping } = process.argv[2] === 'builtin' ? globalThis : await import('undici')
const command = whatwgClient(WebSocket, emit)

// undici reports what a WebSocket hides, and so does the copy of it inside Node.
subscribe('undici:request:headers', ({ response }) => {
  if (response.statusCode !== 101) emit({ event: 'status', status: response.statusCode })
})
subscribe('undici:websocket:pong', ({ payload }) => emit({ event: 'pong', data: String(payload) }))

let socket
for await (const line of createInterface({ input: process.stdin })) {
  const parsed = JSON.parse(line)
  if (parsed.do === 'ping') ping(socket, Buffer.from(parsed.data))
  else socket = command(parsed)
}
