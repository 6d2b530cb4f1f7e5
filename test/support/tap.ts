import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { Frame } from 'wshub'
import { Journal } from './hub-server.ts'

/** Everything that one side sends in all WebSockets through a {@link Tap}, in order. */
class Side {
  /** The heads of the handshakes: of requests for an upgrade, or of 101s. */
  readonly heads: string[] = []
  readonly frames = new Journal<Frame>()

  /** Records one connection; ordinary requests are ignored. */
  follow(socket: Socket): void {
    let bytes = Buffer.alloc(0)
    let isWebSocket: boolean | undefined
    socket.on('data', (data: Buffer) => {
      if (isWebSocket === false) return
      bytes = Buffer.concat([bytes, data])
      if (isWebSocket === undefined) {
        const end = bytes.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = bytes.subarray(0, end).toString('latin1')
        isWebSocket = /^(GET |HTTP\/1\.1 101 )/.test(head) && /^upgrade: websocket\r?$/im.test(head)
        if (!isWebSocket) return
        this.heads.push(head)
        bytes = bytes.subarray(end + 4)
      }
      for (let next = Frame.decode(bytes); next !== null; next = Frame.decode(bytes)) {
        bytes = bytes.subarray(next.bytes)
        this.frames.push(next.frame)
      }
    })
  }
}

/** Passes bytes on to a server of this machine, and records their messages. */
export class Tap {
  readonly port: number
  readonly client = new Side()
  readonly server = new Side()

  private constructor(port: number) {
    this.port = port
  }

  static async open(serverPort: number): Promise<Tap> {
    const sockets = new Set<Socket>()
    const listener = createServer((near) => {
      const far = connect(serverPort, '127.0.0.1')
      const ends = [
        { socket: near, other: far, side: tap.client },
        { socket: far, other: near, side: tap.server },
      ]
      for (const { socket, other, side } of ends) {
        sockets.add(socket)
        side.follow(socket)
        socket.pipe(other)
        socket.on('error', () => {}) // 'close' follows
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroySoon()
        })
      }
    })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo // the server listens on TCP
    const tap = new Tap(port)
    onTestFinished(() => {
      listener.close()
      for (const socket of sockets) socket.destroy()
    })
    return tap
  }
}
