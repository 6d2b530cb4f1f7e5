import { checkKeys, inRange } from '../base/option-rules.ts'

/** The start of a replay. An explicit `undefined` means the default. */
export interface ReplayFrom {
  /**
   * The position of the latest message that the client has, as the client sent it: any value is safe here.
   * `undefined` and `null` = none. Default none.
   */
  since?: unknown
  /**
   * The number of latest messages, 1 or more: for a newcomer, or if not everything after `since` is stored
   * any more. Default none.
   */
  last?: number | undefined
}

const REPLAY_OPTIONS: Required<ReplayFrom> = { since: undefined, last: undefined }

/** Checks where a replay begins. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function checkReplayFrom(from: ReplayFrom): void {
  checkKeys(from, REPLAY_OPTIONS, 'an option of a replay')
  if (from.last !== undefined) inRange('last', from.last, 1)
}

/** Whether a client says that it has a position. */
export function hasSince({ since }: ReplayFrom): boolean {
  return since !== undefined && since !== null
}
