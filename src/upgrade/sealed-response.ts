import type { ServerResponse } from 'node:http'

/** For a property of the prototype that cannot be assigned. */
const IS_TRUE: PropertyDescriptor = { configurable: true, writable: true, value: true }

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
  const answer = (): ServerResponse => {
    use()
    return response
  }
  Object.defineProperty(response, 'headersSent', IS_TRUE)
  response.finished = true // reading it is deprecated; it is what `writableEnded` shows
  response.writeHead = answer
  response.flushHeaders = use
  response.end = answer
  response.write = () => {
    use()
    return true // no back-pressure: nothing is kept
  }
  response.destroy = (error) => {
    use(error)
    return response
  }
}
