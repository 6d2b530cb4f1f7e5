import type { ServerResponse } from 'node:http'

/**
 * Runs what middleware does as the head of a response is written, for a 101 that is written past it. Sessions
 * set their cookies there: they replace `writeHead` of the response (`on-headers`). This stands below them,
 * and takes the head instead of sending it.
 */
export class HeadHooks {
  readonly #response: ServerResponse
  #isRunning = false

  constructor(response: ServerResponse) {
    this.#response = response
    const value = (...args: unknown[]): unknown => {
      if (this.#isRunning) {
        setHeaders(response, args.at(-1))
        return response
      }
      const prototype: ServerResponse = Object.getPrototypeOf(response) // frameworks replace it
      return Reflect.apply(prototype.writeHead, response, args)
    }
    Object.defineProperty(response, 'writeHead', { configurable: true, writable: true, value })
  }

  /** Leaves the headers on the response, and its status as it was: it may have to answer all the same. */
  run(status: number): void {
    const response = this.#response
    const { statusCode, statusMessage } = response
    this.#isRunning = true
    try {
      response.writeHead(status)
    } finally {
      this.#isRunning = false
      response.statusCode = statusCode
      response.statusMessage = statusMessage
    }
  }
}

/**
 * Sets the last argument of `writeHead`, as Node does: an object, or an array of names and values in turn.
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
