/** The members that every event has. */
interface ViewEvent {
  readonly type: string
  /** The WebSocket itself. */
  readonly target: object
}

/** The events of `addEventListener` of a view, with the members that each has in a browser. */
export interface ViewEventMap {
  readonly open: ViewEvent
  /** `data` is a string, or bytes as `binaryType` says. */
  readonly message: ViewEvent & { readonly data: string | Buffer | ArrayBuffer | Buffer[] }
  /** `wasClean` says whether there was a close frame. */
  readonly close: ViewEvent & { readonly code: number; readonly reason: string; readonly wasClean: boolean }
  readonly error: ViewEvent & { readonly error: Error; readonly message: string }
}

/** A function, or an object with the method `handleEvent`. */
export type ViewEventListener<Type extends keyof ViewEventMap> =
  | ((event: ViewEventMap[Type]) => void)
  | { handleEvent(event: ViewEventMap[Type]): void }

/** A listener of an event emitter that passes its arguments on to a listener of an event target. */
export interface ViewListener {
  (...args: readonly unknown[]): unknown
  readonly of: unknown
  /** Whether it was set as `onmessage` or the like. */
  readonly isAttribute: boolean
}

/** Returns the listener for an event emitter that calls a listener of an event target. */
export function viewListener<Type extends keyof ViewEventMap>(
  type: Type,
  listener: ViewEventListener<Type>,
  target: object,
  isAttribute: boolean,
): ViewListener {
  const call = (...args: readonly unknown[]) => {
    const event = { type, target, ...fieldsOf(type, args) } as ViewEventMap[Type] // the fields of its type
    return typeof listener === 'function' ? listener.call(target, event) : listener.handleEvent(event)
  }
  return Object.assign(call, { of: listener, isAttribute })
}

/** Returns whether a listener was made by {@link viewListener}. */
export function isViewListener(listener: unknown): listener is ViewListener {
  return typeof listener === 'function' && 'isAttribute' in listener
}

function fieldsOf(type: keyof ViewEventMap, args: readonly unknown[]): object {
  // The arguments are those of `ws`; whoever emits such an event by hand passes the same.
  switch (type) {
    case 'message':
      return { data: args[1] === true ? args[0] : String(args[0]) }
    case 'close':
      return { code: args[0], reason: String(args[1]), wasClean: args[0] !== 1006 }
    case 'error':
      return { error: args[0], message: args[0] instanceof Error ? args[0].message : String(args[0]) }
    case 'open':
      return {}
  }
}
