import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/**
 * Runs what middleware does while the head of a response is written, for a 101 that does not go through the
 * response. Sessions set their cookies then: they replace `writeHead` of the response (`on-headers`). This
 * function is called by their replacements, and keeps the head instead of sending it.
 */
export class HeadHooks {
  readonly #response: ServerResponse
  #isRunning = false

  constructor(response: ServerResponse) {
    this.#response = response
    response.writeHead = (...args: unknown[]): ServerResponse => {
      if (this.#isRunning) {
        setHeaders(response, args.at(-1))
        return response
      }
      const prototype: ServerResponse = Object.getPrototypeOf(response) // frameworks replace it
      return Reflect.apply(prototype.writeHead, response, args)
    }
  }

  /**
   * Runs the hooks, which may throw. Restores the status of the response: it may still have to answer.
   * @returns the headers of the response, which are sent with the answer
   */
  collect(status: number): OutgoingHttpHeaders {
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
    return response.getHeaders()
  }
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
