/**
 * Status codes of a WebSocket close frame: those of RFC 6455 and the two later registrations a server needs.
 * @see RFC 6455 §7.4.1 and the IANA WebSocket Close Code Number Registry
 */
export const CloseCode = {
  /** The purpose of the connection is fulfilled. */
  normal: 1000,
  /** The endpoint goes away: a server shutting down, a page navigated away from. */
  goingAway: 1001,
  /** The peer broke the protocol. */
  protocolError: 1002,
  /** A type of data that this endpoint does not accept. */
  unsupported: 1003,
  /** Never sent: the close frame that came had no code. */
  noStatus: 1005,
  /** Never sent: the connection ended without a close frame. */
  abnormal: 1006,
  /** Data that does not fit its type, such as text that is not UTF-8. */
  invalidData: 1007,
  /** A message that breaks a rule of the application, when no other code fits. */
  policyViolation: 1008,
  /** A message too big to process. */
  messageTooBig: 1009,
  /** Only a client sends it: the server did not negotiate an extension it needs. */
  extensionRequired: 1010,
  /** An unexpected condition at the server. */
  internalError: 1011,
  /** The server restarts; reconnect, after a random delay. */
  serviceRestart: 1012,
  /** The server is overloaded; reconnect later. */
  tryAgainLater: 1013,
  /** Never sent: the TLS handshake failed. */
  tlsHandshake: 1015,
} as const

/** A close code that has a name here. Applications may use any number from 3000 to 4999 beside these. */
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode]

/**
 * Whether `code` may stand in a close frame: 1000–1003, 1007–1014, or 3000–4999. 1004–1006 and 1015 are
 * reserved and never travel; 1016–2999 belong to future versions of the protocol.
 * @see RFC 6455 §7.4.2
 */
export function isSendableCloseCode(code: number): boolean {
  return (
    Number.isInteger(code) &&
    ((code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
      (code >= 3000 && code <= 4999))
  )
}

/** The most bytes of UTF-8 a close reason may take: 125 of a control frame's payload less the two of the code. */
export const MAX_CLOSE_REASON_BYTES = 123
