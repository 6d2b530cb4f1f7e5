import { connect, type Socket } from 'node:net'
import { inTime } from '../support/in-time.ts'

/**
 * A client with one TCP connection that always has a request in flight: the server answers each when the next
 * has arrived.
 */
export class Pipeliner {
  readonly #socket: Socket
  #answered = 0
  #rest = ''
  #wake = () => {}

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('error', () => {}) // missing answers are noticed
    this.#socket.on('data', (bytes) => {
      const parts = `${this.#rest}${bytes.toString('latin1')}`.split('\r\n\r\n')
      this.#rest = parts.pop() ?? ''
      for (const _ of parts) {
        this.#answered++
        this.#ask()
      }
      this.#wake()
    })
    this.#ask()
    this.#ask()
  }

  /** Resolves once there were that many. */
  answers(count: number): Promise<number> {
    const reached = new Promise<number>((resolve) => {
      this.#wake = () => {
        if (this.#answered >= count) resolve(this.#answered)
      }
    })
    return inTime(`${count} answers`, reached, () => this.#answered)
  }

  leave(): void {
    this.#socket.destroy()
  }

  #ask(): void {
    this.#socket.write('GET /next HTTP/1.1\r\nHost: a\r\n\r\n')
  }
}
