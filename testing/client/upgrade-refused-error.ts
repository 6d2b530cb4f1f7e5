import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** How much of a body the message shows, in characters. */
const SHOWN_LENGTH = 200

/** The application has answered an upgrade with something other than 101. */
export class UpgradeRefusedError extends Error {
  override readonly name = 'UpgradeRefusedError'
  readonly status: number
  /** With names in lower case. */
  readonly headers: IncomingHttpHeaders
  /** As text, the first 1,048,576 characters. */
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
