import { HubError, show } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import { syncJson, syncResult } from '../base/sync-result.ts'
import { MAX_USER_BYTES, type ResolvedPresenceOptions } from './presence-options.ts'

/** The user of a connection, as `presence.user` and `presence.info` returned it. */
export interface Identity {
  readonly user: string | undefined
  /** JSON; empty = no info. */
  readonly info: string
}

/** Receives errors. @param where names the code of the application that threw, if it did */
export type Report = (error: Error, where?: string) => void

/** Asks the application for the user of a connection. Invalid values are reported. */
export function readIdentity(
  { user, info, maxInfoBytes }: ResolvedPresenceOptions,
  connection: object,
  report: Report,
): Identity {
  const id = ask('the option presence.user', user, connection, report)
  if (id === undefined) return { user: undefined, info: '' }
  if (typeof id !== 'string' || id === '' || Buffer.byteLength(id) > MAX_USER_BYTES) {
    const rule = `a string of 1 to ${MAX_USER_BYTES} bytes, or undefined`
    report(new HubError('WSHUB_ERR_PRESENCE', `presence.user returns ${rule}, not ${show(id)}`))
    return { user: undefined, info: '' }
  }
  const value = ask('the option presence.info', info, connection, report)
  return { user: id, info: value === undefined ? '' : jsonOf(value, maxInfoBytes, report) }
}

function ask(
  where: string,
  option: ((connection: object) => unknown) | undefined,
  connection: object,
  report: Report,
): unknown {
  if (option === undefined) return undefined
  let answer: unknown
  const call = () => {
    answer = syncResult(where, option(connection))
  }
  runHandler(where, call, { failed: report })
  return answer
}

/** Returns the JSON of an info, which the application may change afterwards; empty when there is none. */
function jsonOf(value: unknown, maxBytes: number, report: Report): string {
  let json: string | undefined
  const where = 'the info of presence.info'
  runHandler(
    where,
    () => {
      json = syncJson(where, value)
    },
    { failed: report },
  )
  if (json === undefined) return ''
  const bytes = Buffer.byteLength(json)
  if (bytes <= maxBytes) return json
  const message = `presence.info returned ${bytes} bytes of JSON, more than presence.maxInfoBytes`
  report(new HubError('WSHUB_ERR_PRESENCE', message))
  return ''
}

/** Returns the value of an info, frozen. The JSON may come from another node. */
export function parseInfo(json: string): unknown {
  if (json === '') return undefined
  try {
    return deepFreeze(JSON.parse(json))
  } catch {
    return undefined
  }
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const open: object[] = [value]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    Object.freeze(next)
    for (const child of Object.values(next)) if (typeof child === 'object' && child !== null) open.push(child)
  }
  return value
}
