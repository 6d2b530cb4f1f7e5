import { channel } from 'node:diagnostics_channel'
import { createServer, Server as HttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createSecureServer, Server as HttpsServer } from 'node:https'
import type { createConnection } from 'node:net'
import { WebSocket } from 'ws'
import type { UpgradeServer } from 'wshub'
import { checkKeys } from '../known-keys.ts'
import { TestClient } from './client.ts'
import { MemorySocket } from './memory-socket.ts'
import { UpgradeRefusedError } from './upgrade-refused-error.ts'
import { Wait } from './wait.ts'

/**
 * The subject of a test: a Fastify or Koa application, a server, or a request listener, as an Express
 * application is.
 */
export type Application =
  | { readonly server: UpgradeServer; ready(): PromiseLike<unknown> }
  | { callback(): RequestListener }
  | UpgradeServer
  | RequestListener

/** How {@link connect} connects. */
export interface ConnectOptions {
  /** Headers of the request: `{ cookie: 'sid=…', origin: 'https://app.example.com' }`. None by default. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Subprotocols to offer; as in a browser, an application that chooses none of them is an error. None by
   * default.
   */
  readonly protocols?: string | readonly string[] | undefined
  /** Offers compression. Default `false`. */
  readonly perMessageDeflate?: boolean | undefined
  /** The address that the application sees. Default `127.0.0.1`. */
  readonly remoteAddress?: string | undefined
  /**
   * How long each wait of the client lasts, in ms; 0 = no limit. Default 1 000: a test that waits in vain
   * says so before the runner gives it up (Mocha after 2,000, Jest and Vitest after 5,000).
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

/** Most of the body of a refusal that is read, in characters. */
const MAX_BODY_LENGTH = 1_048_576

/** Where Node itself tells of a connection; middleware finds its server by it. */
const SOCKET_CHANNEL = 'net.server.socket'

/**
 * Connects to a WebSocket route through all that stands before it in the application, in memory: no port is
 * opened, and the application need not listen.
 * @param url a path; or a URL, for another `Host` than `localhost`, or `wss:` for an application that wants
 *   https
 * @throws {UpgradeRefusedError} when the answer is not 101
 * @throws {Error} when no answer comes within `timeoutMs`
 * @throws {TypeError} for an unknown option
 */
export async function connect(
  application: Application,
  url: string | URL,
  options: ConnectOptions = {},
): Promise<TestClient> {
  checkKeys(options, CONNECT_OPTIONS, 'the options of connect')
  const { headers = {}, protocols = [], perMessageDeflate = false } = options
  const { remoteAddress = '127.0.0.1', timeoutMs = DEFAULT_TIMEOUT_MS } = options
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
      createConnection: (() => socket) as unknown as typeof createConnection, // typed for TCP; any duplex will do
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
    // Errors are made here, so that their stack leads to the test.
    if (refusal !== undefined) throw new UpgradeRefusedError(refusal, body.slice(0, MAX_BODY_LENGTH))
    if (answer === undefined) throw new Error(`no answer to the upgrade within ${timeoutMs} ms`)
    throw new Error(`the upgrade failed: ${answer.message}`, { cause: answer })
  } catch (error) {
    answered.end()
    socket.destroy()
    throw error
  } finally {
    // The hub lets go of it then; the connection stays.
    if (server !== app) server.close()
  }
}

/** The server or the request listener of an application that is ready. */
async function openApplication(app: Application): Promise<UpgradeServer | RequestListener> {
  if (typeof app === 'function' || app instanceof HttpServer || app instanceof HttpsServer) return app
  if ('callback' in app) return app.callback()
  await app.ready()
  return app.server
}

function serve(listener: RequestListener, { protocol }: URL): UpgradeServer {
  return protocol === 'wss:' || protocol === 'https:' ? createSecureServer(listener) : createServer(listener)
}

/** Has a server take a connection, as if it had come from its port. */
function accept(server: UpgradeServer, socket: MemorySocket, remoteAddress: string): void {
  const isSecure = server instanceof HttpsServer
  Object.assign(socket, { server, remoteAddress }, isSecure ? { encrypted: true } : {})
  channel(SOCKET_CHANNEL).publish({ socket })
  server.emit(isSecure ? 'secureConnection' : 'connection', socket)
}
