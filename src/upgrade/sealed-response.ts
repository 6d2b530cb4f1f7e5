import type { ServerResponse } from 'node:http'

/** Methods that answer a request. */
const ANSWERS = ['writeHead', 'flushHeaders', 'write', 'end'] as const

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
