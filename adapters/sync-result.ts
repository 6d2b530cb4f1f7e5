// As src/base/sync-result.ts: adapters use only what the core exports, which this is not.
import { HubError } from 'wshub'

/** The most objects that are searched for promises when a value has no JSON: it may lead to all others. */
const MAX_SEARCHED = 1_000

/**
 * Returns the result of a function that the application has set as an option, and that is not waited for.
 * @param where names the function: `the option parse`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for a promise
 */
export function syncResult<Result>(where: string, result: Result): Result {
  if (!isThenable(result)) return result
  void settled(result) // else its rejection could end the process
  throw new HubError('WSHUB_ERR_INVALID_OPTION', `${where} is synchronous: it must not return a promise`)
}

/**
 * Returns the JSON of such a result.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for promises in it, also those of a `toJSON`; and whatever the
 *   application's code in it throws
 */
export function syncJson(where: string, result: unknown): string | undefined {
  const refused: unknown[] = []
  let json: string | undefined
  const check = (_key: string, part: unknown) => {
    try {
      if (part instanceof Map || part instanceof Set) settleAll(part) // JSON has nothing of them
      return syncResult(where, part)
    } catch (error) {
      refused.push(error) // each of them could end the process: the others are looked for
      return null
    }
  }
  try {
    json = JSON.stringify(result, check)
  } catch (error) {
    settleAll(result)
    throw error
  }
  if (refused.length > 0) throw refused[0]
  return json
}

/** Handles the rejections of all promises in a value. Calls no getter, which might make more of them. */
function settleAll(value: unknown): void {
  const found = new Set<object>()
  const add = (part: unknown) => {
    if (typeof part !== 'object' || part === null || ArrayBuffer.isView(part)) return
    try {
      if (isThenable(part)) void settled(part)
      else found.add(part)
    } catch {} // a Proxy, or a getter
  }
  let searched = 0
  add(value)
  for (const part of found) {
    if (++searched > MAX_SEARCHED) return
    try {
      if (part instanceof Map || part instanceof Set) for (const entry of part) add(entry)
      for (const each of Object.values(Object.getOwnPropertyDescriptors(part))) add(each.value)
    } catch {} // a Proxy
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Uses `await`, which does not trust the `then` of a promise: the application may have replaced it. */
async function settled(promise: PromiseLike<unknown>): Promise<void> {
  try {
    await promise
  } catch {}
}
