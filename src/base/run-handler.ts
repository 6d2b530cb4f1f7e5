import { asError } from './thrown.ts'

/** Receives the errors of the user code that is called on its behalf. */
export interface HandlerOwner {
  /** @param where names the code that threw, as given to {@link runHandler} */
  failed(error: Error, where: string): void
}

/**
 * Calls user code; nothing else does. What it throws, or its promise rejects with, goes to `owner.failed` as
 * an Error that can be read.
 * @param where names the code in reports: `onMessage`
 * @returns a promise when the callback returned one; it never rejects
 */
export function runHandler(
  where: string,
  call: () => unknown,
  owner: HandlerOwner,
): Promise<void> | undefined {
  try {
    const result = call()
    return isThenable(result) ? settled(where, result, owner) : undefined
  } catch (thrown) {
    owner.failed(asError(thrown, where), where)
    return undefined
  }
}

/**
 * Uses `await`, which trusts neither the `then` of a promise nor its constructor: user code may have replaced
 * both.
 */
async function settled(where: string, result: PromiseLike<unknown>, owner: HandlerOwner): Promise<void> {
  try {
    await result
  } catch (thrown) {
    owner.failed(asError(thrown, where), where)
  }
}

/** Returns whether a value is a promise, or may be used as one. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
