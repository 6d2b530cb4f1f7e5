import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** How many characters of the body the message shows. */
const SHOWN_LENGTH = 200

/** The error of `connect` when the application answers an upgrade with something other than 101. */
export class UpgradeRefusedError extends Error {
  override readonly name = 'UpgradeRefusedError'
  readonly status: number
  /** The headers of the answer, with names in lower case. */
  readonly headers: IncomingHttpHeaders
  /** The body of the answer as text, at most 1,048,576 characters. */
  readonly body: string

  /** @internal */
  constructor(response: IncomingMessage, body: string) {
    const { statusCode = 0, statusMessage = '', headers } = response
    super(`the upgrade was answered with ${statusCode} ${statusMessage}: ${body.slice(0, SHOWN_LENGTH)}`)
    this.status = statusCode
    this.headers = headers
    this.body = body
  }
}
