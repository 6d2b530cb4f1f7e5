import type { HistoryLimits, Mark, ReadRequest, ReadResult, StoredRecord } from './history-store.ts'
import { positionOf, readPosition } from './position.ts'
import { hasSince, type ReplayFrom } from './replay-from.ts'

/** Messages of a room, oldest first. */
export interface HistoryPage {
  /** The messages as clients receive them, stamped: a string for text, a Buffer for bytes. */
  readonly messages: readonly { readonly data: string | Buffer; readonly position: string }[]
  /** Whether no message after `since` is missing; `true` without `since`. */
  readonly complete: boolean
  /** The position of the end of the page, to be passed as `since` for later messages. */
  readonly position: string
}

interface PageSource {
  read(request: Partial<ReadRequest>): Promise<ReadResult>
  dataOf(stored: StoredRecord): string | Buffer | undefined
}

/** Reads messages of a room, at most `maxMessages`. */
export async function readHistory(
  from: ReplayFrom,
  { maxMessages }: HistoryLimits,
  source: PageSource,
): Promise<HistoryPage> {
  let result = await readAfter(readPosition(from.since), source)
  const complete = result?.isComplete ?? !hasSince(from)
  if (result?.isComplete !== true) {
    const last = from.last ?? (hasSince(from) ? undefined : maxMessages)
    result = await source.read(last === undefined ? {} : { last: Math.min(last, maxMessages) })
  }
  const { head } = result
  const messages: { data: string | Buffer; position: string }[] = []
  let end: Mark | undefined
  for (let records = result.records; records.length > 0 && messages.length < maxMessages; ) {
    for (const stored of records) {
      const data = source.dataOf(stored)
      if (data !== undefined) messages.push({ data, position: positionOf(stored) })
      end = stored
    }
    if (end === undefined || end.offset >= head.offset) break
    ;({ records } = await source.read({ after: end }))
  }
  return { messages, complete, position: positionOf(end ?? head) }
}

async function readAfter(mark: Mark | undefined, source: PageSource): Promise<ReadResult | undefined> {
  return mark === undefined ? undefined : source.read({ after: mark })
}
