import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { onTestFinished } from 'vitest'
import { HubError } from 'wshub'
import { turn } from './hub-server.ts'

const boom = (): never => {
  throw new Error('not to be touched')
}

const getter = { configurable: true, get: boom }

/** Every trap throws. */
const trapped = (target: object) =>
  new Proxy(target, new Proxy({}, { get: () => boom }) as ProxyHandler<object>) // has a trap of any name

const revoked = (target: object) => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const withProperty = (key: PropertyKey, descriptor: PropertyDescriptor, error: Error = new Error('x')) =>
  Object.defineProperty(error, key, descriptor)

/** Throws at each read but the first ones. */
const fickle = (key: string, reads: number) => {
  let left = reads
  return withProperty(key, { configurable: true, get: () => (left-- > 0 ? 'for now' : boom()) })
}

/** Values that an application's code might throw, by name; `filler` is any value of JavaScript. */
const KINDS: Readonly<Record<string, (filler: unknown) => unknown>> = {
  anything: (filler) => filler,
  'an Error': () => new Error('plain'),
  'an Error with any message': (filler) => withProperty('message', { value: filler }),
  'an Error with a Symbol as its message': () => withProperty('message', { value: Symbol('m') }),
  'an Error without a prototype': () => Object.setPrototypeOf(new Error('x'), null),
  'an Error of another realm': () => runInNewContext('new TypeError("elsewhere")'),
  'an Error with any cause': (filler) => new Error('x', { cause: filler }),
  'an Error that is its own cause': () => {
    const error = new Error('x')
    error.cause = error
    return error
  },
  'an Error with a cause that throws': () => withProperty('cause', getter),
  'an Error with a message that throws': () => withProperty('message', getter),
  'an Error with a name that throws': () => withProperty('name', getter),
  'an Error with a stack that throws': () => withProperty('stack', getter),
  'an Error with a code that throws': () => withProperty('code', getter),
  'an Error with a Symbol as its code': () => withProperty('code', { value: Symbol('c') }),
  'an Error with a Symbol as its name': () => withProperty('name', { value: Symbol('n') }),
  'an Error with a toString that throws': () => withProperty('toString', { value: boom }),
  'an Error with a huge message': () => new Error('x'.repeat(1_000_000)),
  'an Error with a message that throws later': () => fickle('message', 1),
  'an Error with a name that throws later': () => fickle('name', 1),
  'an Error with a stack that throws later': () => fickle('stack', 1),
  'an Error above a Proxy': () => Object.setPrototypeOf(new Error('x'), trapped(Error.prototype)),
  'a frozen Error': () => Object.freeze(new Error('x')),
  'a DOMException': () => AbortSignal.abort().reason,
  'an object that only inherits from Error': () => Object.create(Error.prototype),
  'a HubError': () => new HubError('WSHUB_ERR_INVALID_PAYLOAD', 'x'),
  'a HubError with a code that cannot be sent': () =>
    withProperty('closeCode', { value: 1005 }, new HubError('WSHUB_ERR_PROTOCOL', 'x')),
  'a HubError with a closeCode that throws': () =>
    withProperty('closeCode', getter, new HubError('WSHUB_ERR_PROTOCOL', 'x')),
  'a HubError with a code that throws': () =>
    withProperty('code', getter, new HubError('WSHUB_ERR_PROTOCOL', 'x')),
  'an object without a prototype': () => Object.create(null),
  'an object with a toString that throws': () => ({ toString: boom, [Symbol.toPrimitive]: boom }),
  'a Proxy whose traps throw': () => trapped({}),
  'a Proxy of an Error whose traps throw': () => trapped(new Error('x')),
  'a Proxy of an array whose traps throw': () => trapped([]),
  'a Proxy of an Error': () => new Proxy(new Error('x'), {}),
  'a revoked Proxy': () => revoked({}),
  'a revoked Proxy of a function': () => revoked(() => {}),
}

/** How it is thrown. */
const WAYS: Readonly<Record<string, (thrown: unknown) => unknown>> = {
  thrown: (thrown) => {
    throw thrown
  },
  rejected: (thrown) => Promise.reject(thrown),
  'rejected later': async (thrown) => {
    await turn()
    throw thrown
  },
  'rejected by a thenable': (thrown) => ({
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
    then: (_done: unknown, failed: (thrown: unknown) => void) => failed(thrown),
  }),
  'thrown by a thenable': (thrown) => ({
    // biome-ignore lint/suspicious/noThenProperty: likewise
    then: () => {
      throw thrown
    },
  }),
  'thrown where then is read': (thrown) =>
    Object.defineProperty({}, 'then', {
      get() {
        throw thrown
      },
    }),
  'thrown by the then of a promise': (thrown) =>
    Object.assign(Promise.resolve(), {
      // biome-ignore lint/suspicious/noThenProperty: likewise
      then: () => {
        throw thrown
      },
    }),
  'rejected by a promise whose then returns nothing': (thrown) => {
    const promise = Promise.reject(thrown)
    promise.catch(() => {})
    // biome-ignore lint/suspicious/noThenProperty: likewise
    return Object.assign(promise, { then: () => 5 })
  },
  'thrown where the constructor of a promise is read': (thrown) =>
    Object.defineProperty(Promise.resolve(), 'constructor', {
      get() {
        throw thrown
      },
    }),
  returned: (thrown) => thrown,
}

/** Throws something in one of many ways. */
export interface Throw {
  readonly kind: string
  readonly way: string
  readonly filler: unknown
}

/** Arbitrary values, thrown in arbitrary ways; shown by their names, since many cannot be shown otherwise. */
export function anyThrow(ways: readonly string[] = Object.keys(WAYS)): fc.Arbitrary<Throw> {
  return fc.record({
    kind: fc.constantFrom(...Object.keys(KINDS)),
    way: fc.constantFrom(...ways),
    filler: fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, withMap: true }),
  })
}

/** Each kind and each way at least once; a property adds their combinations. */
export function eachThrow(): Throw[] {
  return [
    ...Object.keys(KINDS).map((kind) => ({ kind, way: 'thrown', filler: undefined })),
    ...Object.keys(WAYS).map((way) => ({ kind: 'an Error', way, filler: undefined })),
  ]
}

/** Does it. */
export function hurl({ kind, way, filler }: Throw): unknown {
  return WAYS[way]?.(KINDS[kind]?.(filler))
}

/** Values that are thrown. */
export function thrownValues(): [name: string, value: unknown][] {
  return Object.entries(KINDS).map(([kind, make]) => [kind, make(Symbol('filler'))])
}

/**
 * Errors that nobody caught until the test is over, and the warnings, which are read as Node reads them and
 * not printed.
 */
export function watchProcess(): { readonly stray: string[]; readonly warnings: Error[] } {
  const stray: string[] = []
  const warnings: Error[] = []
  const strayed = (what: string) => (thrown: unknown) => {
    const isReadable = thrown instanceof Error && typeof thrown.stack === 'string'
    stray.push(`${what}: ${isReadable ? thrown.stack : typeof thrown}`)
  }
  const uncaught = strayed('uncaughtException')
  const unhandled = strayed('unhandledRejection')
  const warn = (warning: Error & { code?: unknown; detail?: unknown }) => {
    try {
      // As Node's own listener, which prints it.
      stray.push(
        ...[warning.name, warning.message, warning.stack]
          .filter((text) => typeof text !== 'string')
          .map(String),
      )
      if (warning.code) void `${warning.code}`
      void `${warning.toString()}${warning.detail ?? ''}`
      warnings.push(warning)
    } catch (error) {
      stray.push(`a warning that cannot be printed: ${error instanceof Error ? error.message : ''}`)
    }
  }
  // The listeners of Node and of the test runner would print or count the errors caused here.
  const events = { uncaughtException: uncaught, unhandledRejection: unhandled, warning: warn }
  for (const [event, listener] of Object.entries(events)) {
    const others = process.listeners(event as NodeJS.Signals) // there is no type for the names of all events
    process.removeAllListeners(event)
    process.on(event, listener)
    onTestFinished(() => {
      process.off(event, listener)
      for (const other of others) process.on(event, other)
    })
  }
  return { stray, warnings }
}
