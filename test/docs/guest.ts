import { once } from 'node:events'
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { type ClientOptions, WebSocket } from 'ws'
import { WAIT_MS } from '../support/in-time.ts'

/** An answer that is not a 101. */
export interface Refusal {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A client of a page's server, with the cookie of its session. */
export class Guest {
  readonly #url: string
  readonly #cookie: string | undefined

  constructor(url: string, cookie?: string) {
    this.#url = url
    this.#cookie = cookie
  }

  /** Logs in, and keeps the cookie. */
  static async login(url: string, user: string): Promise<Guest> {
    const response = await fetch(`${url}/login?user=${user}`)
    const [cookie] = response.headers.getSetCookie()
    if (cookie === undefined) throw new Error(`no cookie, but ${response.status} ${await response.text()}`)
    return new Guest(url, cookie.split(';')[0])
  }

  /** Sends an ordinary request. */
  async get(path: string): Promise<Refusal> {
    const request = get(this.#url + path, { headers: this.#headers(), signal: AbortSignal.timeout(WAIT_MS) })
    const [response]: [IncomingMessage] = (await once(request, 'response')) as [IncomingMessage] // of node:http
    return await refusalOf(response)
  }

  /** Opens a WebSocket. */
  async open(path = '/ws'): Promise<OpenGuest> {
    const socket = this.#connect(path)
    let headers: IncomingHttpHeaders = {}
    socket.once('upgrade', (response) => {
      headers = response.headers
    })
    await once(socket, 'open', { signal: AbortSignal.timeout(WAIT_MS) })
    return { socket, headers }
  }

  /** Tries to open a WebSocket, and returns the answer. */
  async refused(path = '/ws', options: ClientOptions = {}): Promise<Refusal> {
    const socket = this.#connect(path, options)
    const signal = AbortSignal.timeout(WAIT_MS)
    const [, response] = await once(socket, 'unexpected-response', { signal })
    return await refusalOf(response as IncomingMessage) // as `ws` documents the event
  }

  #connect(path: string, options: ClientOptions = {}): WebSocket {
    return new WebSocket(this.#url.replace('http', 'ws') + path, { ...options, headers: this.#headers() })
  }

  #headers(): Record<string, string> {
    return this.#cookie === undefined ? {} : { cookie: this.#cookie }
  }
}

async function refusalOf(response: IncomingMessage): Promise<Refusal> {
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
}

export interface OpenGuest {
  readonly socket: WebSocket
  /** The headers of the 101. */
  readonly headers: IncomingHttpHeaders
}

/** Returns the next message of a client, which has to be waited for before it is caused. */
export async function nextText({ socket }: OpenGuest): Promise<string> {
  const [data] = await once(socket, 'message', { signal: AbortSignal.timeout(WAIT_MS) })
  return String(data)
}

/** Returns the code that a connection closes with. */
export async function closeCode({ socket }: OpenGuest): Promise<number> {
  const [code] = await once(socket, 'close', { signal: AbortSignal.timeout(WAIT_MS) })
  return code
}
