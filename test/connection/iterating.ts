import type { Socket } from 'node:net'
import { expect } from 'vitest'
import type { Connection, Message } from 'wshub'
import { eventually, type HubServer, Journal, type RawClient } from '../support/hub-server.ts'

/** Proves that no more messages are delivered: a message that another client sends later is. */
export async function marker(served: HubServer): Promise<void> {
  const { client } = await served.connect()
  client.socket.send('marker')
  await served.log.first('the marker', (entry) => entry === 'message marker')
  served.log.all.splice(served.log.all.indexOf('message marker'), 1)
  await client.close()
}

/** Iterates over a connection and records each step. */
export function iterating(connection: Connection, each: (message: Message) => unknown = () => {}) {
  const seen = new Journal<string>()
  const loop = async () => {
    try {
      for await (const message of connection) {
        seen.push(message.type === 'text' ? message.data : `0x${message.data.toString('hex')}`)
        await each(message)
      }
      seen.push('end')
    } catch (error) {
      seen.push(`threw ${error}`)
    }
  }
  void loop()
  return seen
}

/** A promise that the test resolves. */
export function gate() {
  let open = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, passed }
}

/** Waits until the server has stopped reading from a client that has more to send. */
export async function untilItIsStuck(client: RawClient, serverSocket: Socket): Promise<void> {
  let bytesRead = -1
  let unchanged = 0
  await eventually(
    'the client to be blocked',
    () => {
      unchanged = serverSocket.bytesRead === bytesRead && client.socket.writableLength > 0 ? unchanged + 1 : 0
      bytesRead = serverSocket.bytesRead
      return unchanged === 100
    },
    () => ({ bytesRead, writableLength: client.socket.writableLength }),
  )
  // One read of the socket, of 32 MB that were sent.
  expect(bytesRead).toBeLessThan(200_000)
}
