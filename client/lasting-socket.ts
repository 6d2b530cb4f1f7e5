import type { ResolvedConnectOptions } from './connect-options.ts'
import type {
  ReconnectingSocket,
  SocketCloseEvent,
  SocketErrorEvent,
  SocketLike,
} from './reconnecting-socket.ts'
import { delayOf, isSpread, longestDelay, mayReturn } from './retry-delay.ts'
import { checkData, SendQueue, type SocketData } from './send-queue.ts'

/** Most rooms whose positions are remembered: as many as a hub lets a connection join by default. */
const MAX_POSITIONS = 1_000

/** Most bytes of the reason of a close, as a WebSocket has it. */
const MAX_REASON_BYTES = 123

/** If a timer is late by this many ms, the page was frozen; waiting messages then get this long to arrive. */
const THAW_MS = 1_000

/** The globals that a page has and Node lacks. */
interface Surroundings {
  readonly addEventListener?: EventTarget['addEventListener']
  readonly document?: EventTarget & { readonly visibilityState: string }
}

/** The implementation of {@link ReconnectingSocket}. */
export class LastingSocket extends EventTarget implements ReconnectingSocket {
  readonly CONNECTING = 0
  readonly OPEN = 1
  readonly CLOSING = 2
  readonly CLOSED = 3
  onopen: ReconnectingSocket['onopen'] = null
  onmessage: ReconnectingSocket['onmessage'] = null
  onerror: ReconnectingSocket['onerror'] = null
  onclose: ReconnectingSocket['onclose'] = null

  /** As it was passed, until a WebSocket has resolved it. */
  #url: string
  readonly #options: ResolvedConnectOptions
  readonly #queue: SendQueue
  /** The latest position of each room, those with the newest messages last. */
  readonly #positions = new Map<string, string>()
  /** Ends the listeners of the page. */
  readonly #listening = new AbortController()
  #binaryType: ReconnectingSocket['binaryType'] = 'blob'
  #socket: SocketLike | undefined
  #end: 2 | 3 | undefined
  /** The timer of the retry, the attempt or the heartbeat; only one of them runs at a time. */
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Counts attempts, so that the token of an earlier one is not used. */
  #turn = 0
  /** The number of attempts that have failed in a row. */
  #failures = 0
  /** When the connection opened; `undefined` before. */
  #openedAt: number | undefined
  #heardAt = 0
  #hasBeenOpen = false
  /** Whether a retry is pending that may be made early. */
  #isImpatient = false

  constructor(url: string | URL, options: ResolvedConnectOptions) {
    super()
    this.#url = String(url)
    this.#options = options
    this.#queue = new SendQueue(options)
    // An error of user code becomes an `error` event and stops nothing. An uncaught one would end Node.
    this.addEventListener('open', () => {
      const isFirst = !this.#hasBeenOpen
      this.#hasBeenOpen = true
      if (isFirst) return
      new Promise((resolve) => resolve(options.onReconnect?.(this, new Map(this.#positions)))).catch(
        (error) => this.#fail(error),
      )
    })
    this.addEventListener('message', (event) => {
      try {
        const found = options.positionOf?.((event as MessageEvent).data, event as MessageEvent)
        if (found?.position !== undefined) this.#remember(found.room, found.position)
      } catch (error) {
        this.#fail(error)
      }
    })
    for (const type of ['open', 'message', 'error', 'close'] as const) {
      this.addEventListener(type, (event) => this[`on${type}`]?.(event as never))
    }
    this.#connect()
    this.#listenToPage()
  }

  get url(): string {
    return this.#url
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#end ?? (this.#socket?.readyState === 1 ? 1 : 0)
  }

  get protocol(): string {
    return this.#socket?.protocol ?? ''
  }

  get extensions(): string {
    return this.#socket?.extensions ?? ''
  }

  get bufferedAmount(): number {
    return this.#queue.bytes + (this.#socket?.bufferedAmount ?? 0)
  }

  get binaryType(): ReconnectingSocket['binaryType'] {
    return this.#binaryType
  }

  set binaryType(type: ReconnectingSocket['binaryType']) {
    this.#binaryType = type
    if (this.#socket !== undefined) this.#socket.binaryType = type
  }

  send(data: SocketData): void {
    checkData(data)
    if (this.#end !== undefined) return
    if (this.readyState === 1) this.#socket?.send(data)
    else if (!this.#queue.push(data)) throw new DOMException('no more messages may wait', 'InvalidStateError')
  }

  close(code?: number, reason?: string): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code < 5000)) {
      throw new DOMException('code is 1000, or 3000 to 4999', 'InvalidAccessError')
    }
    if (reason !== undefined && new TextEncoder().encode(reason).length > MAX_REASON_BYTES) {
      throw new DOMException(`reason has at most ${MAX_REASON_BYTES} bytes`, 'SyntaxError')
    }
    if (this.#end !== undefined) return
    this.#socket?.close(code, reason)
    this.#end = 2
    this.#turn++
    clearTimeout(this.#timer)
    this.#queue.clear()
    if (this.#socket === undefined) queueMicrotask(() => this.#closed(1006, '', false))
  }

  /** Reconnects at once when the browser is online again, or the page is visible again. */
  #listenToPage(): void {
    const { addEventListener, document } = globalThis as Surroundings // see there
    const { signal } = this.#listening
    const retry = () => {
      if (!this.#isImpatient) return
      this.#failures = 0
      this.#retry()
    }
    addEventListener?.('online', retry, { signal })
    document?.addEventListener(
      'visibilitychange',
      () => {
        if (document.visibilityState === 'visible') retry()
      },
      { signal },
    )
  }

  // Connecting

  #retry(): void {
    try {
      this.#connect()
    } catch (error) {
      this.#lose(error)
    }
  }

  /** @throws what `new WebSocket` throws */
  #connect(): void {
    clearTimeout(this.#timer)
    this.#isImpatient = false
    this.#openedAt = undefined
    const { token, openTimeoutMs } = this.#options
    const turn = ++this.#turn
    const isCurrent = () => turn === this.#turn
    if (token === undefined) this.#open([])
    else {
      new Promise<string>((resolve) => resolve(token()))
        .then((value: unknown) => {
          if (typeof value !== 'string' || value === '') {
            throw new TypeError('token returns a string that is not empty')
          }
          if (isCurrent()) this.#open([`bearer.${value}`])
        })
        .catch((error) => {
          if (isCurrent()) this.#lose(error)
        })
    }
    // Not unref'ed in Node, like the retry's: a program that waits for its connection must not exit.
    this.#timer = setTimeout(() => this.#lose(), openTimeoutMs)
  }

  #open(bearer: readonly string[]): void {
    const { WebSocket, protocols } = this.#options
    const socket = new WebSocket(this.#url, [...protocols, ...bearer])
    this.#socket = socket
    this.#url = socket.url
    socket.binaryType = this.#binaryType
    // They stay when the connection is given up: `ws` throws its errors where nobody listens.
    const isCurrent = () => socket === this.#socket
    socket.onopen = () => isCurrent() && this.#opened(socket)
    socket.onmessage = (event: MessageEvent) => isCurrent() && this.#received(event)
    // An attempt that failed is over here: in Node 22 no `close` follows.
    socket.onerror = ({ error }: SocketErrorEvent) => {
      if (!isCurrent()) return
      if (this.#openedAt === undefined) this.#lose(error)
      else this.#fail(error)
    }
    socket.onclose = ({ code, reason, wasClean }: SocketCloseEvent) =>
      isCurrent() && this.#closed(code, reason, wasClean)
  }

  #opened(socket: SocketLike): void {
    clearTimeout(this.#timer)
    if (this.#end !== undefined) return
    this.#openedAt = this.#heardAt = performance.now()
    const { heartbeatTimeoutMs } = this.#options
    if (heartbeatTimeoutMs > 0) this.#watch(heartbeatTimeoutMs)
    this.dispatchEvent(new Event('open'))
    while (socket === this.#socket && this.readyState === 1) {
      const data = this.#queue.shift()
      if (data === undefined) break
      socket.send(data)
    }
  }

  // Receiving

  #received({ data, origin }: MessageEvent): void {
    this.#heardAt = performance.now()
    if (data !== '') this.dispatchEvent(new MessageEvent('message', { data, origin }))
  }

  #remember(room: string, position: string): void {
    this.#positions.delete(room)
    this.#positions.set(room, position)
    if (this.#positions.size <= MAX_POSITIONS) return
    for (const oldest of this.#positions.keys()) {
      this.#positions.delete(oldest)
      break
    }
  }

  /** Gives up the connection when nothing was received for `heartbeatTimeoutMs`; checks after `ms`. */
  #watch(ms: number, isThawing = false): void {
    const dueAt = performance.now() + ms
    this.#timer = setTimeout(() => {
      const now = performance.now()
      const left = this.#heardAt + this.#options.heartbeatTimeoutMs - now
      if (left > 0) this.#watch(left)
      else if (!isThawing && now - dueAt > THAW_MS) this.#watch(THAW_MS, true)
      else this.#lose()
    }, ms)
  }

  // Ending

  #fail(error?: unknown): void {
    this.dispatchEvent(Object.assign(new Event('error'), { error }))
  }

  /** Gives up the attempt or the connection. */
  #lose(error?: unknown): void {
    const socket = this.#socket
    this.#socket = undefined
    if (socket?.terminate) socket.terminate()
    else socket?.close()
    this.#fail(error)
    this.#closed(1006, '', false)
  }

  #closed(code: number, reason: string, wasClean: boolean): void {
    if (this.#end === 3) return
    clearTimeout(this.#timer)
    this.#turn++
    this.#socket = undefined
    const retryInMs =
      this.#end === 2 || !mayReturn(code, this.#options.token !== undefined)
        ? undefined
        : this.#scheduleRetry({ code, reason })
    if (retryInMs === undefined) {
      this.#end = 3
      this.#listening.abort()
      this.#queue.clear()
    }
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason, wasClean, retryInMs }))
  }

  #scheduleRetry(end: { readonly code: number; readonly reason: string }): number {
    // A connection resets the delay only if it was open for longer than the delay. Otherwise a server that
    // accepts and then closes would be contacted again and again.
    const now = performance.now()
    if (now - (this.#openedAt ?? now) > longestDelay(this.#failures, this.#options)) this.#failures = 0
    const delayMs = delayOf(this.#failures++, end, Math.random(), this.#options)
    this.#isImpatient = !isSpread(end.code)
    this.#timer = setTimeout(() => this.#retry(), delayMs)
    return delayMs
  }
}
