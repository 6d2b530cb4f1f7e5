import { HubError } from './errors.ts'
import { isThenable, runHandler } from './run-handler.ts'

/**
 * Returns the result of user code that has to be synchronous. A promise is refused: as a condition it would
 * be true, whatever it resolves to.
 * @param where names the code: `the option trustProxy`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for a promise, or anything else with a `then`
 */
export function syncResult<Result>(where: string, result: Result): Result {
  if (!isThenable(result)) return result
  void runHandler(where, () => result, { failed: () => {} }) // else its rejection could end the process
  throw new HubError('WSHUB_ERR_INVALID_OPTION', `${where} is synchronous: it must not return a promise`)
}
