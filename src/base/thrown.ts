import { types } from 'node:util'
import { HubError, show } from './errors.ts'

/**
 * Turns whatever user code threw into an Error that can be reported. An Error with a name, a message and a stack that are
 * strings stays itself; anything else becomes the `cause` of a {@link HubError}.
 * @param where names the code that threw
 */
export function asError(thrown: unknown, where: string): Error {
  if (isPlainError(thrown)) return thrown
  return new HubError('WSHUB_ERR_HANDLER_THREW', `${where} threw ${show(thrown)}`, { cause: thrown })
}

/** Returns a property that is a string, else `undefined`. A getter is user code too, and may throw at any reading. */
export function textOf(thrown: unknown, key: 'name' | 'message' | 'stack' | 'code'): string | undefined {
  const value = propertyOf(thrown, key)
  return typeof value === 'string' ? value : undefined
}

/** Returns a property of what user code threw, `undefined` where reading it throws. */
export function propertyOf(thrown: unknown, key: string): unknown {
  try {
    return typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, key) : undefined
  } catch {
    return undefined
  }
}

function isPlainError(thrown: unknown): thrown is Error {
  if (typeof thrown !== 'object' || thrown === null || hasProxy(thrown)) return false
  // An Error of another realm (`vm`, Jest) is no instance of ours, and a DOMException or an old subclass is not native.
  if (!(thrown instanceof Error) && !types.isNativeError(thrown)) return false
  try {
    const { name, message, stack } = thrown
    return [name, message, stack ?? ''].every((text) => typeof text === 'string')
  } catch {
    return false
  }
}

/** A Proxy, here or among the prototypes, may throw at any `instanceof`. */
function hasProxy(value: object): boolean {
  for (let next: object | null = value; next !== null; next = Object.getPrototypeOf(next)) {
    if (types.isProxy(next)) return true
  }
  return false
}
