/**
 * Close codes of WebSocket: those of RFC 6455, and two that were registered later.
 * @see RFC 6455 §7.4.1 and the IANA WebSocket Close Code Number Registry
 */
export const CloseCode = {
  /** The connection has fulfilled its purpose. */
  normal: 1000,
  /** The endpoint goes away: the server shuts down, or the user leaves the page. */
  goingAway: 1001,
  /** The peer violated the protocol. */
  protocolError: 1002,
  /** The peer sent a type of data that this endpoint does not accept. */
  unsupported: 1003,
  /** Never sent: the close frame had no code. */
  noStatus: 1005,
  /** Never sent: the connection ended without a close frame. */
  abnormal: 1006,
  /** The data of a message does not match its type: text that is not UTF-8. */
  invalidData: 1007,
  /** A message breaks a rule of the application, and no other code fits. */
  policyViolation: 1008,
  /** A message is too big to process. */
  messageTooBig: 1009,
  /** Only a client sends it: the server did not negotiate an extension it needs. */
  extensionRequired: 1010,
  /** The server failed unexpectedly. */
  internalError: 1011,
  /** The server restarts: reconnect after a random delay. */
  serviceRestart: 1012,
  /** The server is overloaded: reconnect later. */
  tryAgainLater: 1013,
  /** Never sent: the TLS handshake failed. */
  tlsHandshake: 1015,
} as const

/** A close code with a name. Applications may also use any number from 3000 to 4999. */
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode]

/**
 * Returns whether a close frame may carry `code`: 1000–1003, 1007–1014, or 3000–4999. 1004–1006 and 1015 are
 * reserved and never sent; 1016–2999 belong to future versions of the protocol.
 * @see RFC 6455 §7.4.2
 */
export function isSendableCloseCode(code: number): boolean {
  return (
    Number.isInteger(code) &&
    ((code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
      (code >= 3000 && code <= 4999))
  )
}

/**
 * The most bytes of UTF-8 in a close reason: 125 in the payload of a control frame, less two for the code.
 */
export const MAX_CLOSE_REASON_BYTES = 123
