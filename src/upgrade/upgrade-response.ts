import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** The upgrade that a response belongs to. */
export interface ResponseOwner {
  /** Whether the response has to wait for its client before it writes more. */
  readonly needsDrain: boolean
  /** The application answers after the 101, or destroys the response, perhaps with an error. */
  responseUsed(error: unknown): void
}

/**
 * The state of a response. It is an object of its own because each response of Express has a shape of its
 * own, on which V8 looks up every property anew: 0.4 µs for each that is read or set.
 */
export class ResponseState {
  readonly owner: ResponseOwner
  /** Whether its head is kept instead of sent. */
  isCollecting = false
  /** Whether nothing that is written is sent. */
  isSealed = false
  /** Whether the 101 was sent without it. */
  isAnswered = false
  /** Whether its owner is no longer told that it is used. */
  isUsed = false

  constructor(owner: ResponseOwner) {
    this.owner = owner
  }

  /** The application has used the response after its end. */
  use(error?: unknown): void {
    if (this.isUsed) return
    this.isUsed = true
    this.owner.responseUsed(error)
  }
}

/** The methods of a response that it has itself, and not from a prototype. */
type OwnMethods = Pick<ServerResponse, 'writeHead' | 'flushHeaders' | 'write' | 'end' | 'destroy'>

/**
 * The response to an upgrade, for the request listeners. Frameworks replace its prototype, so its behaviour
 * is in properties of its own. They are there from the start, and all responses have the same functions and
 * getters: otherwise V8 makes a shape, or a dictionary, of each response, which takes 5 to 12 KB of an
 * upgrade.
 */
export class UpgradeResponse extends ServerResponse {
  // Node sets this flag and clears it in its own listener, which it has removed.
  static readonly #writableNeedDrain: PropertyDescriptor = {
    configurable: true,
    get(this: UpgradeResponse): boolean {
      return #state in this && this.#state.owner.needsDrain
    },
  }

  static readonly #headersSent: PropertyDescriptor = {
    configurable: true,
    get(this: UpgradeResponse): boolean {
      return (
        (#state in this && this.#state.isAnswered) ||
        Reflect.get(ServerResponse.prototype, 'headersSent', this)
      )
    },
  }

  // The overloads of a method cannot be written as one signature.
  static readonly #methods = {
    writeHead(this: UpgradeResponse, ...args: unknown[]): unknown {
      if (!(#state in this)) return original('writeHead', this, args)
      const { isSealed, isCollecting } = this.#state
      if (isSealed) {
        if (isAnswer(args[0])) this.#state.use()
      } else if (isCollecting) setHeaders(this, args.at(-1))
      else return original('writeHead', this, args)
      return this
    },
    flushHeaders(this: UpgradeResponse, ...args: unknown[]): unknown {
      return #state in this && this.#state.isSealed ? this.#state.use() : original('flushHeaders', this, args)
    },
    write(this: UpgradeResponse, ...args: unknown[]): unknown {
      if (!(#state in this) || !this.#state.isSealed) return original('write', this, args)
      this.#state.use()
      return true // no back-pressure: nothing is kept
    },
    end(this: UpgradeResponse, ...args: unknown[]): unknown {
      if (!(#state in this) || !this.#state.isSealed) return original('end', this, args)
      if (isAnswer(this.statusCode) || hasBytes(args[0])) this.#state.use()
      const done = args.at(-1)
      if (typeof done === 'function') process.nextTick(done)
      return this
    },
    destroy(this: UpgradeResponse, ...args: unknown[]): unknown {
      if (!(#state in this) || !this.#state.isSealed) return original('destroy', this, args)
      this.#state.use(args[0])
      return this
    },
  } as OwnMethods

  readonly #state: ResponseState

  constructor(req: IncomingMessage, state: ResponseState) {
    super(req)
    this.#state = state
    this.shouldKeepAlive = false
    // Not `defineProperties`, which takes twice as long: 0.3 µs.
    Object.defineProperty(this, 'writableNeedDrain', UpgradeResponse.#writableNeedDrain)
    Object.defineProperty(this, 'headersSent', UpgradeResponse.#headersSent)
    setMethods(this, UpgradeResponse.#methods)
  }

  // Static, since frameworks replace the prototype.

  /**
   * Runs what middleware does while the head of a response is written, for a 101 that does not go through the
   * response. Sessions set their cookies then: they replace `writeHead` of the response (`on-headers`), and
   * their replacements call ours, which keeps the head instead of sending it. They may throw. Restores the
   * status of the response: it may still have to answer.
   * @returns the headers of the response, which are sent with the answer
   */
  static collectHead(response: UpgradeResponse, state: ResponseState, status: number): OutgoingHttpHeaders {
    const { statusCode, statusMessage } = response
    state.isCollecting = true
    try {
      response.writeHead(status)
    } finally {
      state.isCollecting = false
      if (response.statusCode !== statusCode) response.statusCode = statusCode
      if (response.statusMessage !== statusMessage) response.statusMessage = statusMessage
    }
    return response.getHeaders()
  }

  /**
   * Marks a response as answered, because the 101 was sent without it: `headersSent` and `writableEnded` are
   * true. An application that still answers, or destroys the response, is most likely handling an error of
   * the route after the upgrade: its owner is told, once.
   */
  static seal(response: UpgradeResponse, state: ResponseState): void {
    state.isSealed = true
    state.isAnswered = true
    response.finished = true // reading it is deprecated; it is what `writableEnded` shows
    setMethods(response, UpgradeResponse.#methods) // middleware may have replaced some
  }

  /**
   * Ends a response of which nothing is sent: it is destroyed, and using it has no effect. Its own `destroy`
   * would do, but on Bun it answers the request with 200.
   */
  static discard(response: UpgradeResponse, state: ResponseState): void {
    state.isSealed = true
    state.isUsed = true
    response.destroyed = true
    setMethods(response, UpgradeResponse.#methods)
  }

  /**
   * Tells the middleware that waits for the end of a response (access logs, cleanups) that it has ended with
   * the 101. Otherwise that middleware would keep the request for as long as the connection lives, and take
   * the end of the connection for an aborted response.
   */
  static finish(response: UpgradeResponse): void {
    response.statusCode = 101
    response.emit('finish')
    response.emit('close')
  }
}

/**
 * Returns whether a status is one of an answer. Hosts end a response by themselves once its route has
 * returned: that is no answer, if it has neither such a status nor a body.
 */
function isAnswer(status: unknown): boolean {
  return typeof status !== 'number' || status >= 300
}

/** Returns whether the first argument of `end` is a body. */
function hasBytes(chunk: unknown): boolean {
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return chunk.length > 0
  return chunk !== undefined && chunk !== null && typeof chunk !== 'function'
}

/** Does not use `Object.assign`, which makes a dictionary of a response. */
function setMethods(response: ServerResponse, methods: OwnMethods): void {
  response.writeHead = methods.writeHead
  response.flushHeaders = methods.flushHeaders
  response.write = methods.write
  response.end = methods.end
  response.destroy = methods.destroy
}

/** Calls the method that a response would have without ours. */
function original(name: keyof OwnMethods, response: ServerResponse, args: unknown[]): unknown {
  // Of an object that was made with the response as its prototype, that is our method again.
  const isOurs = Object.hasOwn(response, 'writableNeedDrain')
  const prototype: ServerResponse = isOurs ? Object.getPrototypeOf(response) : ServerResponse.prototype
  return Reflect.apply(prototype[name], response, args)
}

/**
 * Sets the headers in the last argument of `writeHead`, as Node does: an object, or an array of alternating
 * names and values.
 */
function setHeaders(response: ServerResponse, headers: unknown): void {
  if (typeof headers !== 'object' || headers === null) return
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    return
  }
  for (let i = 0; i < headers.length; i += 2) response.removeHeader(headers[i])
  for (let i = 0; i < headers.length; i += 2) response.appendHeader(headers[i], headers[i + 1])
}
