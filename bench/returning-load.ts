// The load process of the scenario `returns`: many clients that connect within a few seconds and get what
// they missed. It answers the calls of returns.ts over IPC. A message that is missing or out of place fails
// the current call.

import { RawClient } from './raw-client.ts'
import { answerCalls } from './servers/answer-calls.mjs'
import { readHeader } from './servers/payload.mjs'

export interface ReturnOptions {
  port: number
  /** The request of the clients. */
  path: string
  clients: number
  withinMs: number
  /** The number of the first message that each gets, and how many it gets. */
  first: number
  messages: number
}

const TICK_MS = 10
let clients: RawClient[] = []

const calls = {
  /** Resolves when all clients are connected and have their messages. */
  async return({ port, path, clients: count, withinMs, first, messages }: ReturnOptions): Promise<void> {
    const received = new Array<number>(count).fill(0)
    await new Promise<void>((resolve, reject) => {
      let left = count * (messages + 1)
      const advance = () => {
        left--
        if (left === 0) resolve()
      }
      const listener = {
        onMessage(client: RawClient, bytes: Buffer, start: number, end: number) {
          const text = bytes.toString('latin1', start, end)
          const expected = first + (received[client.index] ?? 0)
          const { number } = readHeader(text.slice(text.indexOf(' ') + 1))
          if (number !== expected) reject(new Error(`message ${expected} was due, and this came: ${text}`))
          received[client.index] = (received[client.index] ?? 0) + 1
          advance()
        },
        onPing() {},
        onFailure: (client: RawClient, reason: string) =>
          reject(new Error(`client ${client.index}: ${reason}`)),
      }
      const start = performance.now()
      const timer = setInterval(() => {
        const due = Math.min(count, Math.ceil(((performance.now() - start) / withinMs) * count))
        while (clients.length < due) {
          const client = new RawClient(
            clients.length,
            { port, path, dialect: 'plain', compression: false },
            listener,
          )
          clients.push(client)
          void client.opened.then(advance)
        }
        if (due === count) clearInterval(timer)
      }, TICK_MS)
    })
  },

  /** Ends all clients. */
  leave(): void {
    for (const client of clients) client.destroy()
    clients = []
  },
}

answerCalls(calls)
