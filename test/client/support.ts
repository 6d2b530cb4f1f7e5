import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { type ConnectOptions, connect, type ReconnectingSocket, type SocketCloseEvent } from 'wshub/client'
import { Journal } from '../support/hub-server.ts'

/** Short delays, and the WebSocket of `ws`, since Node 20 has none. */
export const QUICK = { minDelayMs: 1, maxDelayMs: 20, WebSocket } as const

/** A socket that keeps what happens to it: `open`, `message …`, `error`, `close CODE reason`. */
export interface Recorded {
  readonly socket: ReconnectingSocket
  readonly log: Journal<string>
  readonly closes: SocketCloseEvent[]
}

/** Connects, until the test is over. */
export function connectRecorded(url: string, options: ConnectOptions = {}): Recorded {
  const socket = connect(url, { ...QUICK, ...options })
  onTestFinished(() => socket.close())
  const log = new Journal<string>()
  const closes: SocketCloseEvent[] = []
  socket.addEventListener('open', () => log.push('open'))
  socket.addEventListener('message', ({ data }) => log.push(`message ${data}`))
  socket.addEventListener('error', () => log.push('error'))
  socket.addEventListener('close', (event) => {
    closes.push(event)
    log.push(`close ${event.code} ${event.reason}`.trim())
  })
  return { socket, log, closes }
}

/** Resolves when something has happened so many times. */
export async function times(log: Journal<string>, entry: string, count: number): Promise<void> {
  await log.until(`${count} × ${entry}`, (all) => all.filter((each) => each === entry).length >= count)
}
