// The load process of the scenarios `connect`: clients that come and go, and requests without an upgrade. It
// answers the calls of connect.ts over IPC. A client that is not answered with 101 counts as refused.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface ComeAndGoOptions {
  port: number
  clients: number
  /** The number of clients that are there at the same time. */
  atOnce: number
}

export interface StormOptions {
  port: number
  clients: number
  withinMs: number
}

/** How long the clients waited for their 101, from the first byte of TCP on. */
export interface Handshakes {
  refused: number
  p50Ms: number
  p99Ms: number
}

const TICK_MS = 5
// Fixed, so that the accept value is known (RFC 6455 §1.3 uses the same pair).
const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const REQUEST = 'GET /empty HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
/** A masked close frame with the code 1000. */
const CLOSE = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])

const calls = {
  /** Opens clients, each of which leaves with a close frame when it has its 101. */
  async comeAndGo({ port, clients, atOnce }: ComeAndGoOptions): Promise<Handshakes> {
    const times: number[] = []
    let left = clients
    const comeAndGo = async (): Promise<void> => {
      while (left > 0) {
        left--
        const start = performance.now()
        const socket = await open(port)
        if (socket === undefined) continue
        times.push(performance.now() - start)
        socket.write(CLOSE)
        await once(socket, 'close')
      }
    }
    await Promise.all(Array.from({ length: atOnce }, comeAndGo))
    return summaryOf(times, clients)
  },

  /** Opens clients within a time, then ends them all. */
  async storm({ port, clients, withinMs }: StormOptions): Promise<Handshakes> {
    const times: number[] = []
    const sockets: Promise<Socket | undefined>[] = []
    const start = performance.now()
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(clients, Math.ceil(((performance.now() - start) / withinMs) * clients))
        while (sockets.length < due) {
          const openedAt = performance.now()
          const socket = open(port)
          sockets.push(socket)
          void socket.then((opened) => opened && times.push(performance.now() - openedAt))
        }
        if (due < clients) return
        clearInterval(timer)
        resolve()
      }, TICK_MS)
    })
    const opened = (await Promise.all(sockets)).filter((socket) => socket !== undefined)
    const summary = summaryOf(times, clients)
    await Promise.all(opened.map((socket) => once(socket.resetAndDestroy(), 'close')))
    return summary
  },

  /** Sends requests without an upgrade, on connections that stay open. */
  async request({ port, requests, atOnce }: { port: number; requests: number; atOnce: number }) {
    let left = requests
    const send = async (): Promise<void> => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      for (; left > 0; left--) {
        socket.write(REQUEST)
        const [answer] = await once(socket, 'data')
        if (!isEmptyAnswer(String(answer))) throw new Error(`not an empty answer: ${answer}`)
      }
      socket.resetAndDestroy()
    }
    await Promise.all(Array.from({ length: atOnce }, send))
  },
}

/** Resolves with the socket of a WebSocket; with `undefined` when it was refused. */
function open(port: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => resolve(undefined))
    socket.write(HANDSHAKE)
    let head = ''
    socket.on('data', (bytes) => {
      head += bytes.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      const isAccepted = head.startsWith('HTTP/1.1 101') && head.includes(ACCEPT)
      socket.removeAllListeners('data')
      socket.resume()
      if (isAccepted) resolve(socket)
      else socket.destroy()
    })
  })
}

function isEmptyAnswer(text: string): boolean {
  return text.startsWith('HTTP/1.1 204') && text.endsWith('\r\n\r\n')
}

function summaryOf(times: number[], clients: number): Handshakes {
  times.sort((a, b) => a - b)
  const quantile = (share: number) => times[Math.floor(times.length * share)] ?? Number.NaN
  return { refused: clients - times.length, p50Ms: quantile(0.5), p99Ms: quantile(0.99) }
}

process.on(
  'message',
  async ({ id, call, options }: { id: number; call: keyof typeof calls; options: never }) => {
    try {
      process.send?.({ id, result: await calls[call](options) })
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? error.message : String(error) })
    }
  },
)
process.on('disconnect', () => process.exit())
