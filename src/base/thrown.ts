import { types } from 'node:util'
import { HubError, show } from './errors.ts'

/**
 * Returns an Error that can be reported for anything that user code threw. An Error whose name, message and
 * stack are strings is returned as it is; anything else becomes the `cause` of a {@link HubError}.
 * @param where names the code that threw
 */
export function asError(thrown: unknown, where: string): Error {
  if (isPlainError(thrown)) return thrown
  return new HubError('WSHUB_ERR_HANDLER_THREW', `${where} threw ${show(thrown)}`, { cause: thrown })
}

/**
 * Returns a property if it is a string. A getter is user code too: any reading may throw or give another
 * value.
 */
export function textOf(thrown: unknown, key: 'name' | 'message' | 'stack' | 'code'): string | undefined {
  const value = propertyOf(thrown, key)
  return typeof value === 'string' ? value : undefined
}

/** Returns a property of a thrown value; `undefined` when reading it throws. */
export function propertyOf(thrown: unknown, key: string): unknown {
  try {
    return typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, key) : undefined
  } catch {
    return undefined
  }
}

function isPlainError(thrown: unknown): thrown is Error {
  if (typeof thrown !== 'object' || thrown === null || hasProxy(thrown)) return false
  // An Error of another realm (`vm`, Jest) is no instance of this Error; a DOMException or an old subclass is
  // not native.
  if (!(thrown instanceof Error) && !types.isNativeError(thrown)) return false
  try {
    const { name, message, stack } = thrown
    return [name, message, stack ?? ''].every((text) => typeof text === 'string')
  } catch {
    return false
  }
}

/** Returns whether the value or one of its prototypes is a Proxy, for which any `instanceof` may throw. */
function hasProxy(value: object): boolean {
  for (let next: object | null = value; next !== null; next = Object.getPrototypeOf(next)) {
    if (types.isProxy(next)) return true
  }
  return false
}
