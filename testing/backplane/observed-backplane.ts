import { setTimeout as sleep } from 'node:timers/promises'
import type { Backplane, BackplaneState } from 'wshub'

interface Received {
  readonly channel: string
  readonly bytes: Buffer
}

/** A backplane, with everything that it has reported to its listener. */
export class ObservedBackplane {
  readonly backplane: Backplane
  readonly received: Received[] = []
  readonly states: BackplaneState[] = []
  readonly errors: Error[] = []
  readonly #timeoutMs: number

  constructor(backplane: Backplane, timeoutMs: number) {
    this.backplane = backplane
    this.#timeoutMs = timeoutMs
  }

  /** @param onMessage called for each message, after it was recorded */
  begin(onMessage?: () => void): Promise<void> {
    return this.backplane.start({
      onMessage: (channel, bytes) => {
        this.received.push({ channel, bytes })
        onMessage?.()
      },
      onStateChange: (state) => {
        this.states.push(state)
      },
      onError: (error) => {
        this.errors.push(error)
      },
    })
  }

  /** Resolves when it is connected. */
  start(): Promise<void> {
    return this.inTime('start() to resolve', this.begin())
  }

  subscribe(...channels: readonly string[]): Promise<unknown> {
    const all = Promise.all(channels.map((channel) => this.backplane.subscribe(channel)))
    return this.inTime('subscribe() to resolve', all)
  }

  /** Publishes a message, again and again until it is accepted: too much may be waiting to be sent. */
  async publish(channel: string, data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    await this.until('publish() to accept', () => this.backplane.publish(channel, bytes))
  }

  /** Returns the messages received on a channel, as text. */
  texts(channel: string): string[] {
    return this.received.filter((message) => message.channel === channel).map(({ bytes }) => bytes.toString())
  }

  /** Resolves when a text has been received on a channel. */
  receives(channel: string, text: string): Promise<void> {
    return this.until(`"${text}" on ${channel}`, () => {
      return this.received.some((message) => message.channel === channel && message.bytes.toString() === text)
    })
  }

  /** Resolves when the backplane has a state. */
  reaches(state: BackplaneState): Promise<void> {
    return this.until(`the state "${state}"`, () => this.backplane.state === state)
  }

  /** Resolves when a condition holds. It is checked every millisecond. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + this.#timeoutMs
    while (!holds()) {
      if (performance.now() > end) throw this.#tooLate(what)
      await sleep(1)
    }
  }

  /** Rejects when a promise is not settled in time. */
  async inTime<T>(what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.#tooLate(what)), this.#timeoutMs)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #tooLate(what: string): Error {
    const { state } = this.backplane
    const last = this.received
      .slice(-5)
      .map(({ channel, bytes }) => `${channel}: ${bytes.toString('latin1', 0, 40)}`)
    const seen = {
      state,
      states: this.states,
      errors: this.errors.map(String),
      count: this.received.length,
      last,
    }
    return new Error(`Waited ${this.#timeoutMs} ms for ${what}, saw: ${JSON.stringify(seen, null, 2)}`)
  }
}
