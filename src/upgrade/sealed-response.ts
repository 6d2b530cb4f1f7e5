import type { ServerResponse } from 'node:http'

/** Methods that answer a request. */
const ANSWERS = ['writeHead', 'flushHeaders', 'write', 'end'] as const

/**
 * Tells the middleware that waits for the end of a response (access logs, cleanups) that it has ended with
 * the 101. Otherwise that middleware would keep the request for as long as the connection lives, and take the
 * end of the connection for an aborted response.
 */
export function finishResponse(response: ServerResponse): void {
  response.statusCode = 101
  response.emit('finish')
  response.emit('close')
}

/**
 * Marks a response as answered, because the 101 was sent without it: `headersSent` and `writableEnded` are
 * true. An application that still answers, or destroys the response, is most likely handling an error of the
 * route after the upgrade.
 * @param onUse called once, with the error that the response was destroyed with
 */
export function sealResponse(response: ServerResponse, onUse: (error: unknown) => void): void {
  let isUsed = false
  const use = (error?: unknown): void => {
    if (isUsed) return
    isUsed = true
    onUse(error)
  }
  const define = (name: string, value: unknown): void => {
    Object.defineProperty(response, name, { configurable: true, writable: true, value })
  }
  define('headersSent', true)
  response.finished = true // reading it is deprecated; it is what `writableEnded` shows
  for (const name of ANSWERS) {
    define(name, () => {
      use()
      return name === 'write' ? true : response // no back-pressure: nothing is kept
    })
  }
  define('destroy', (error?: unknown) => {
    use(error)
    return response
  })
}
