import { describe, expect, it } from 'vitest'
import { type Connection, Frame, Opcode } from 'wshub'
import { collectGarbage } from '../support/garbage.ts'
import { eventually, type RawClient, serve, turn } from '../support/hub-server.ts'

const MIB = 1_048_576
const text = (data: string) => ({ opcode: Opcode.text, payload: Buffer.from(data) })

/** Returns the bytes of buffers that are still referenced. */
function liveBytes(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

const sum = (connections: readonly Connection[]) =>
  connections.reduce((total, { bufferedBytes }) => total + bufferedBytes, 0)

describe('maxTotalBufferedBytes', () => {
  it('limits the answers to a packet of many messages, and closes the clients with the most waiting', async () => {
    const served = await serve(
      { maxTotalBufferedBytes: 16 * MIB, closeTimeoutMs: 600_000 },
      {
        onMessage(connection, { data }) {
          connection.sendBinary(Buffer.alloc(20_000)) // each has its own buffer
          most = Math.max(most, sum(served.connections))
          if (data === 'last') connection.sendText('done')
        },
      },
    )
    let most = 0
    const { client: small } = await served.connectRaw()
    const greedy: RawClient[] = []
    for (let i = 0; i < 5; i++) greedy.push((await served.connectRaw()).client)
    small.socket.pause()
    for (let i = 0; i < 20; i++) small.send(text('few'))
    for (const { socket } of greedy) socket.pause()
    const before = liveBytes()
    const many = Buffer.concat(Array<Buffer>(700).fill(new Frame({ ...text('many'), masked: true }).encode()))
    for (const { socket } of greedy) socket.write(many)
    await served.log.until('their end', (all) => all.filter((entry) => entry.includes('SLOW')).length >= 3)
    // Clients that were closed hold no buffers, although they have not answered the close frame.
    await eventually(
      'their buffers to be freed',
      () => liveBytes() - before < 16 * MIB + 6 * 2 * 65_536,
      () => liveBytes() - before,
    )
    // In addition, each socket has a write of about 64 KiB, and each connection the frames of the turn.
    expect(most).toBeLessThan(16 * MIB + 6 * 2 * 65_536)
    expect(served.errors.map(({ message }) => message)).toContain(
      'more than 16777216 bytes wait for all clients together, and this one has the most',
    )
    for (const { socket } of greedy) socket.resume()
    small.socket.resume()
    small.send(text('last'))
    await small.frames.first('the answer', ({ payload }) => payload.toString() === 'done')
    expect(small.frames.all.filter(({ opcode }) => opcode === Opcode.binary)).toHaveLength(21)
    expect((await greedy[0]?.closeFrame())?.code).toBe(1013)
  })

  it('counts a broadcast once for any number of clients', async () => {
    const served = await serve({ maxBufferedBytes: 12 * MIB, maxTotalBufferedBytes: 12 * MIB })
    const clients: RawClient[] = []
    for (let i = 0; i < 10; i++) clients.push((await served.connectRaw()).client)
    for (const { socket } of clients) socket.pause()
    for (let i = 0; i < 100; i++) {
      served.hub.broadcast(`${i} `.padEnd(100_000, '.'))
      if (i % 10 === 0) await turn()
    }
    expect(served.hub.stats().bufferedBytes).toBeGreaterThan(24 * MIB)
    for (const { socket } of clients) socket.resume()
    for (const client of clients) await client.frames.until('all', (all) => all.length === 100)
    expect(served.errors).toEqual([])
  })

  it('closes a client with any policy, even one that is closing already', async () => {
    for (const slowConsumer of ['dropNewest', 'dropOldest', 'conflate'] as const) {
      const served = await serve({ slowConsumer, maxBufferedBytes: 2 * MIB, maxTotalBufferedBytes: 3 * MIB })
      const clients: RawClient[] = []
      for (let i = 0; i < 4; i++) clients.push((await served.connectRaw()).client)
      for (const { socket } of clients) socket.pause()
      const [closing] = served.connections
      await eventually(
        'one to be given up',
        () => {
          for (const connection of served.connections) {
            if (connection.bufferedBytes < 1_500_000) connection.sendBinary(Buffer.alloc(50_000))
          }
          if (closing !== undefined && closing.bufferedBytes > 1_000_000) closing.close(4000)
          return served.log.all.some((entry) => entry.includes('SLOW'))
        },
        () => served.connections.map(({ bufferedBytes }) => bufferedBytes),
      )
      expect(sum(served.connections)).toBeLessThan(3 * MIB + 4 * 2 * 65_536)
    }
  })

  it('destroys a connection whose close frame would wait for a large message', async () => {
    const served = await serve({ maxTotalBufferedBytes: 20 * MIB })
    const { client, connection } = await served.connectRaw()
    client.socket.pause()
    expect(connection.sendBinary(Buffer.alloc(30 * MIB))).toBe(true)
    await served.log.first('onClose', (entry) => entry.startsWith('close 1006'))
    expect(connection.bufferedBytes).toBe(0)
  })
})
