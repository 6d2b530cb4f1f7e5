import { HubError } from 'wshub'

/**
 * Returns the result of a function that the application has set as an option, and that is not waited for.
 * @param where names the function: `the option parse`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for a promise
 */
export function syncResult<Result>(where: string, result: Result): Result {
  if (typeof result !== 'object' || result === null || !('then' in result)) return result
  Promise.resolve(result).catch(() => {}) // else its rejection could end the process
  throw new HubError('WSHUB_ERR_INVALID_OPTION', `${where} is synchronous: it must not return a promise`)
}
