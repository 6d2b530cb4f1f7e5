import { connect, type Socket } from 'node:net'
import { request } from '../support/raw.ts'

/**
 * A client with one TCP connection that always has a request in flight: the server answers each when the next
 * has arrived.
 */
export class Pipeliner {
  readonly #socket: Socket
  readonly #asking: NodeJS.Timeout
  #rest = ''
  answered = 0

  constructor(port: number, failed: (what: string) => void) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', (bytes) => this.#hear(bytes.toString('latin1')))
    this.#socket.on('error', (error) => failed(`the pipeliner has failed: ${error.stack}`))
    this.#socket.on('close', () => failed(`the pipeliner was hung up on after ${this.answered} answers`))
    this.#asking = setInterval(() => this.#socket.write(request('/next')), 2)
  }

  leave(): void {
    clearInterval(this.#asking)
    this.#socket.removeAllListeners('close').destroy()
  }

  #hear(text: string): void {
    const parts = `${this.#rest}${text}`.split('hello')
    this.#rest = parts.pop() ?? ''
    this.answered += parts.length
  }
}
