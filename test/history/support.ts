import type { Connection, EventHandler, HistoryOptions, HubOptions } from 'wshub'
import { memoryHistory, stampJson } from 'wshub'
import { type Client, type HubServer, serve } from '../support/hub-server.ts'

/** A hub whose rooms have a history, but those that begin with `plain`. */
export function serveHistory(
  history: Partial<HistoryOptions> = {},
  options: HubOptions = {},
  handler: EventHandler = {},
): Promise<HubServer> {
  return serve(
    {
      history: {
        store: memoryHistory(),
        rooms: (room) => (room.startsWith('plain') ? undefined : {}),
        stamp: stampJson,
        ...history,
      },
      ...options,
    },
    handler,
  )
}

/** The text of a message. */
export function text(n: number | string): string {
  return JSON.stringify({ n })
}

/** Returns what `n` each text has. */
export function numbers(texts: readonly (string | Buffer)[]): (number | string)[] {
  return texts.map((data) => (JSON.parse(data.toString()) as { n: number | string }).n)
}

/** Returns the position of the last text. */
export function lastPosition(texts: readonly (string | Buffer)[]): string | undefined {
  const last = texts.at(-1)
  return last === undefined ? undefined : (JSON.parse(last.toString()) as { at?: string }).at
}

/** Returns what a connection has received until now: sends a marker behind it. */
export async function received(connection: Connection, client: Client, marker = 'end'): Promise<string[]> {
  connection.sendText(marker)
  return client.upTo(marker)
}
