import { WebSocket } from 'ws'
import { WAIT_MS } from '../support/in-time.ts'

/** A client that sends numbers all the time, expects each back, and also every tick of the server. */
export class Neighbour {
  /** Rejects if the server refuses it. */
  readonly opened: Promise<void>
  readonly #socket: WebSocket
  readonly #failed: (what: string) => void
  readonly #sending: NodeJS.Timeout
  #sent = 0
  #answered = 0
  #tick: number | undefined
  #ticks = 0
  #wake = () => {}
  #leaving = false

  constructor(url: string, failed: (what: string) => void) {
    this.#failed = failed
    this.#socket = new WebSocket(url, { perMessageDeflate: true, handshakeTimeout: WAIT_MS })
    this.opened = new Promise((resolve) => this.#socket.once('open', () => resolve()))
    this.#socket.on('message', (data) => this.#hear(data.toString()))
    this.#socket.on('error', (error) => failed(`the neighbour has failed: ${error.stack}`))
    this.#socket.on('close', (code, reason) => {
      if (!this.#leaving) failed(`the neighbour was closed with ${code} ${reason}`)
    })
    this.#sending = setInterval(() => this.#send(), 2)
  }

  /** Resolves once everything it has sent is back, also the message of this call. */
  async answered(): Promise<void> {
    this.#send()
    await this.#until(() => this.#answered === this.#sent)
  }

  /** Resolves once it has received everything, up to that many ticks, and closes. */
  async leave(ticks: number): Promise<{ exchanged: number; ticks: number }> {
    clearInterval(this.#sending)
    await this.answered()
    await this.#until(() => (this.#tick ?? 0) + 1 >= ticks)
    this.#leaving = true
    this.#socket.close()
    return { exchanged: this.#answered, ticks: this.#ticks }
  }

  terminate(): void {
    clearInterval(this.#sending)
    this.#leaving = true
    this.#socket.terminate()
  }

  /** Every tenth message is long enough to be compressed. */
  #message(n: number): string {
    return `${n} ${'beside '.repeat(n % 10 === 0 ? 400 : 1)}`
  }

  #send(): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(this.#message(this.#sent++))
  }

  #hear(data: string): void {
    const tick = /^tick (\d+)$/.exec(data)?.[1]
    if (tick === undefined) {
      if (data !== this.#message(this.#answered)) {
        this.#failed(`the neighbour waited for number ${this.#answered} and got ${data.slice(0, 100)}`)
      }
      this.#answered++
    } else {
      if (this.#tick !== undefined && Number(tick) !== this.#tick + 1) {
        this.#failed(`the neighbour waited for tick ${this.#tick + 1} and got ${tick}`)
      }
      this.#tick = Number(tick)
      this.#ticks++
    }
    this.#wake()
  }

  async #until(holds: () => boolean): Promise<void> {
    if (holds()) return
    await new Promise<void>((resolve) => {
      this.#wake = () => {
        if (holds()) resolve()
      }
    })
    this.#wake = () => {}
  }
}
