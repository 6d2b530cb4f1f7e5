import { CloseCode } from '../protocol/close-code.ts'

/** Everyone who ends connections. */
export const CLOSE_PARTIES = ['client', 'hub', 'application', 'network'] as const

/**
 * The party that ended a connection: the client by a close frame, the hub by one of its rules, the
 * application by a call, or the network, if the TCP connection ended without a close frame.
 */
export type CloseParty = (typeof CLOSE_PARTIES)[number]

/**
 * Every reason for which a connection ends. `docs/handlers.md` has the same table for readers; a test
 * compares the two.
 */
export const CLOSE_REASONS = [
  'normal',
  'terminated',
  'lost',
  'timeout',
  'openTimeout',
  'slow',
  'rate',
  'tooBig',
  'protocol',
  'expired',
  'shutdown',
  'handlerError',
] as const

/** The reason for which a connection ended. */
export type CloseReason = (typeof CLOSE_REASONS)[number]

/** The reasons that another party than the hub may have; all others are rules of the hub. */
const PARTIES: Readonly<Partial<Record<CloseReason, readonly CloseParty[]>>> = {
  normal: ['client', 'application'],
  terminated: ['application'],
  lost: ['network'],
}

/** Every pair of who ends a connection, and why. */
export const CLOSE_CAUSES = CLOSE_REASONS.flatMap((reason) =>
  (PARTIES[reason] ?? (['hub'] as const)).map((by) => ({ by, reason })),
)

/** How many connections ended by one party for one reason. */
export interface CloseCount {
  readonly by: CloseParty
  readonly reason: CloseReason
  readonly connections: number
}

/** How a connection ended. */
export interface CloseCause {
  readonly by: CloseParty
  readonly reason: CloseReason
  /**
   * The code on the wire: that of the client's close frame (1005 when the frame had none); without such a
   * frame, that of the close frame sent to the client; without either, 1006.
   * @see RFC 6455 §7.1.5
   */
  readonly code: number
  /** The error for which the hub closed the connection, as `onError` received it. */
  readonly error?: Error
  /** The time that it was open, in ms; 0 for a socket that never opened. */
  readonly openMs: number
}

/** How this side begins the end of a connection. */
export interface Ending {
  readonly by: CloseParty
  readonly reason: CloseReason
  /** The code of the close frame; 1006 if none is sent. */
  readonly code: number
  /** The reason in the close frame; if none is sent, the reason for `onClose`. */
  readonly text: string
  readonly error?: Error | undefined
}

const UNSENT = 'the close frame could not be sent'

/**
 * Works out how a connection ended.
 * @param received code and reason of the client's close frame; 1006 without one
 * @param ending how this side began to close; `undefined` when it did not
 * @param isSent whether the close frame of `ending` was handed to the socket
 * @returns the cause, and the reason for `onClose`
 * @internal
 */
export function closeCause(
  received: { readonly code: number; readonly reason: string },
  ending: Ending | undefined,
  isSent: boolean,
  openMs: number,
): { readonly cause: CloseCause; readonly reason: string } {
  const hasAnswer = received.code !== CloseCode.abnormal
  const isUnsent = ending !== undefined && ending.code !== CloseCode.abnormal && !isSent
  // When the client closed before the close frame of this side was sent, the client ended the connection.
  if (ending === undefined || (isUnsent && hasAnswer)) {
    const { code, reason } = received
    const cause: CloseCause = hasAnswer
      ? { by: 'client', reason: 'normal', code, openMs }
      : { by: 'network', reason: 'lost', code, openMs }
    return { cause, reason }
  }
  const sent = isUnsent
    ? { code: CloseCode.abnormal, reason: UNSENT }
    : { code: ending.code, reason: ending.text }
  const { code, reason } = hasAnswer ? received : sent
  const { by, error } = ending
  return {
    cause: { by, reason: ending.reason, code, ...(error === undefined ? {} : { error }), openMs },
    reason,
  }
}
