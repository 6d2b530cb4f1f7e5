import { checkKeys, integersOf, orDefault, type Resolved } from '../base/option-rules.ts'
import { CloseCode } from '../protocol/close-code.ts'
import { checkClose } from '../protocol/control-frame.ts'

/** The options of {@link Hub.close}. */
export interface CloseOptions {
  /** The close code. Default 1001, going away. */
  code?: number | undefined
  /** The close reason, at most 123 bytes of UTF-8. Default empty. */
  reason?: string | undefined
  /** The number of connections closed at a time, 1 or more. Default 500. */
  batch?: number | undefined
  /**
   * Pause between batches, in ms, ±50 %; shortened so that all batches fit into half of `timeoutMs`. Default
   * 50.
   */
  everyMs?: number | undefined
  /**
   * Time, in ms, for async callbacks to settle, for clients to answer, and then for the cluster to receive
   * the messages that wait for it. A connection whose callbacks still run after four fifths of it is closed
   * without waiting for them. Connections left after nine tenths of it are terminated, and the rest is for
   * their `onClose`. A registered WebSocket that does not report its end takes at most 1 000 ms more. An
   * engine that does not answer takes 1 000 ms for the cluster and 2 000 ms for a history, and a backplane or
   * a store that does not close 5 000 ms. Default 5 000.
   */
  timeoutMs?: number | undefined
}

/** The result of {@link Hub.close}. */
export interface CloseResult {
  /** Connections that ended by a closing handshake. */
  closed: number
  /** Connections that did not: they were lost, or terminated at the deadline. */
  terminated: number
}

/** {@link CloseOptions} with every default in place. */
export type ResolvedCloseOptions = Resolved<CloseOptions>

/** The defaults of {@link CloseOptions}. */
const CLOSE_DEFAULTS: ResolvedCloseOptions = {
  code: CloseCode.goingAway,
  reason: '',
  batch: 500,
  everyMs: 50,
  timeoutMs: 5_000,
}

/**
 * Checks the options of `hub.close` and returns them with every default in place, so that an adapter can
 * refuse them at its start. An explicit `undefined` means the default.
 * @throws {HubError} WSHUB_ERR_INVALID_CLOSE or WSHUB_ERR_INVALID_OPTION
 */
export function readCloseOptions(options: CloseOptions = {}): ResolvedCloseOptions {
  checkKeys(options, CLOSE_DEFAULTS, 'an option of close')
  const code = orDefault(options.code, CLOSE_DEFAULTS.code)
  const reason = orDefault(options.reason, CLOSE_DEFAULTS.reason)
  checkClose(code, reason)
  const integer = integersOf(options, CLOSE_DEFAULTS)
  return {
    code,
    reason,
    batch: integer('batch', 1),
    everyMs: integer('everyMs', 0),
    timeoutMs: integer('timeoutMs', 0),
  }
}
