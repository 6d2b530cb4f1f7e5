import { channel } from 'node:diagnostics_channel'
import { createServer, Server as HttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createSecureServer, Server as HttpsServer } from 'node:https'
import type { createConnection } from 'node:net'
import { inspect } from 'node:util'
import { WebSocket } from 'ws'
import { checkKeys } from '../known-keys.ts'
import { TestClient } from './client.ts'
import { MemorySocket } from './memory-socket.ts'
import { UpgradeRefusedError } from './upgrade-refused-error.ts'
import { Wait } from './wait.ts'

/** A server whose upgrades come over HTTP/1.1. */
type Http1Server = HttpServer | HttpsServer

/**
 * The application under test: of Fastify or Koa, a server, or a request listener, such as an Express
 * application.
 */
export type Application =
  | { readonly server: Http1Server; ready(): PromiseLike<unknown> }
  | { callback(): RequestListener }
  | Http1Server
  | RequestListener

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Headers of the request: `{ cookie: 'sid=…', origin: 'https://app.example.com' }`. Default none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Subprotocols to offer. As in a browser, `connect` rejects when the application chooses none of them.
   * Default none.
   */
  readonly protocols?: string | readonly string[] | undefined
  /** Whether to offer compression. Default `false`. */
  readonly perMessageDeflate?: boolean | undefined
  /** The address that the application sees. Default `127.0.0.1`. */
  readonly remoteAddress?: string | undefined
  /**
   * How long each wait of the client lasts, in ms; 0 = no limit. Default 1 000: the client's error comes
   * before the test runner's own time limit (2,000 in Mocha, 5,000 in Jest and Vitest).
   */
  readonly timeoutMs?: number | undefined
}

const CONNECT_OPTIONS: Required<ConnectOptions> = {
  headers: undefined,
  protocols: undefined,
  perMessageDeflate: undefined,
  remoteAddress: undefined,
  timeoutMs: undefined,
}

const DEFAULT_TIMEOUT_MS = 1_000
/** The longest time, in ms, that a timer of Node.js takes. */
const MAX_TIMEOUT_MS = 2_147_483_647

/** The most characters that are read of a refusal's body. */
const MAX_BODY_LENGTH = 1_048_576

/** Node publishes each connection of a server here. The middleware finds its server by it. */
const SOCKET_CHANNEL = 'net.server.socket'

/**
 * Connects to a WebSocket route in memory, through all middleware in front of it. No port is opened, and the
 * application need not listen.
 * @param url a path; or a URL, for another `Host` than `localhost`, or `wss:` for an application that needs
 *   https
 * @throws {UpgradeRefusedError} when the answer is not 101
 * @throws {Error} when there is no answer within `timeoutMs`
 * @throws {TypeError} for anything that is no application, and for an unknown or invalid option
 */
export async function connect(
  application: Application,
  url: string | URL,
  options: ConnectOptions = {},
): Promise<TestClient> {
  checkKeys(options, CONNECT_OPTIONS, 'the options of connect')
  const { headers = {}, protocols = [], perMessageDeflate = false } = options
  const { remoteAddress = '127.0.0.1', timeoutMs = DEFAULT_TIMEOUT_MS } = options
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new TypeError(`timeoutMs is a number from 0 to ${MAX_TIMEOUT_MS}, not ${inspect(timeoutMs)}`)
  }
  if (typeof url !== 'string' && !(url instanceof URL)) {
    throw new TypeError(`connect takes an application and a path, such as '/ws', not ${typeof url}`)
  }
  const address = new URL(url, 'ws://localhost')
  const app = await openApplication(application)
  const server = typeof app === 'function' ? serve(app, address) : app
  const socket = new MemorySocket()
  const answered = new Wait<TestClient | Error>(timeoutMs)
  let refusal: IncomingMessage | undefined
  let body = ''
  try {
    const ws = new WebSocket(address, [protocols].flat(), {
      headers: { ...headers },
      perMessageDeflate,
      createConnection: (() => socket) as unknown as typeof createConnection, // typed for TCP, but any duplex works
    })
    ws.on('error', (error) => answered.end(error))
    ws.on('unexpected-response', (_request, response) => {
      refusal = response
      response.setEncoding('utf8').on('close', () => answered.end())
      response.on('data', (part: string) => {
        body += part
        if (body.length >= MAX_BODY_LENGTH) answered.end()
      })
    })
    ws.on('upgrade', (response) => {
      const client = new TestClient(ws, response, timeoutMs)
      ws.on('open', () => answered.end(client))
    })
    accept(server, socket.peer, remoteAddress)
    const answer = await answered.promise
    if (answer instanceof TestClient) return answer
    // Errors are created here, so that their stack leads to the test.
    if (refusal !== undefined) throw new UpgradeRefusedError(refusal, body.slice(0, MAX_BODY_LENGTH))
    if (answer === undefined) throw new Error(`no answer to the upgrade within ${timeoutMs} ms`)
    throw new Error(`the upgrade failed: ${answer.message}`, { cause: answer })
  } catch (error) {
    answered.end()
    socket.destroy()
    throw error
  } finally {
    // The hub detaches from the temporary server; the connection stays open.
    if (server !== app) server.close()
  }
}

/** Returns the server or the request listener of an application, once it is ready. */
async function openApplication(app: Application): Promise<Http1Server | RequestListener> {
  if (typeof app === 'function' || app instanceof HttpServer || app instanceof HttpsServer) return app
  if (has(app, 'callback')) return app.callback()
  if (has(app, 'ready')) {
    await app.ready()
    return app.server
  }
  // A caller without types passes whatever it has, such as the promise of an application.
  const takes = 'an application of Express, Fastify or Koa, a server of node:http, or a request listener'
  throw new TypeError(`connect takes ${takes}, not ${inspect(app, { depth: -1 })}`)
}

/** Returns whether an application has a method. */
function has<Name extends 'callback' | 'ready'>(
  app: Application,
  name: Name,
): app is Extract<Application, Record<Name, unknown>> {
  return typeof Reflect.get(Object(app), name) === 'function'
}

function serve(listener: RequestListener, { protocol }: URL): Http1Server {
  return protocol === 'wss:' || protocol === 'https:' ? createSecureServer(listener) : createServer(listener)
}

/** Passes a connection to a server, as if it had arrived on its port. */
function accept(server: Http1Server, socket: MemorySocket, remoteAddress: string): void {
  const isSecure = server instanceof HttpsServer
  Object.assign(socket, { server, remoteAddress }, isSecure ? { encrypted: true } : {})
  channel(SOCKET_CHANNEL).publish({ socket })
  server.emit(isSecure ? 'secureConnection' : 'connection', socket)
}
