// Clients over TLS for bench/http2.ts: they count what they receive.

import { connect as connectSession } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { answerCalls } from './servers/answer-calls.mjs'

const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const CONNECT = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':scheme': 'https',
  ':path': '/',
  ':authority': 'localhost',
  'sec-websocket-version': '13',
}

let bytes = 0
const count = (data) => {
  bytes += data.length
}

answerCalls({
  /** @param perSession clients in one HTTP/2 session; 0 = over HTTP/1.1 */
  async connect({ port, clients, perSession }) {
    let session
    for (let index = 0; index < clients; index++) {
      if (perSession === 0) await openSocket(port)
      else {
        if (index % perSession === 0) session = await openSession(port)
        await openStream(session)
      }
    }
  },

  /** Resolves with the number of bytes since the last call, once there are as many as expected. */
  async received({ expected }) {
    while (bytes < expected) await new Promise((resolve) => setTimeout(resolve, 5))
    const received = bytes
    bytes = 0
    return received
  },
})

function openSocket(port) {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.write(HANDSHAKE)
  return new Promise((resolve) => {
    socket.once('data', () => {
      socket.on('data', count)
      resolve()
    })
  })
}

function openSession(port) {
  const session = connectSession(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  return new Promise((resolve) => session.once('remoteSettings', () => resolve(session)))
}

function openStream(session) {
  const stream = session.request(CONNECT)
  stream.on('data', count)
  return new Promise((resolve) => stream.once('response', resolve))
}
