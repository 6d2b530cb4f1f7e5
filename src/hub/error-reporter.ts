import { channel } from 'node:diagnostics_channel'
import { HubError, type HubErrorCode } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import { propertyOf, textOf } from '../base/thrown.ts'
import type { Connection } from '../connection/connection.ts'
import type { ErrorSource } from '../connection/error-source.ts'
import type { EventHandler } from '../connection/event-handler.ts'

const errorChannel = channel('wshub:error')

/** Errors that any client can cause repeatedly: with a warning for each, it could fill the log. */
const CLIENT_FAULTS: ReadonlySet<unknown> = new Set<HubErrorCode>([
  'WSHUB_ERR_PROTOCOL',
  'WSHUB_ERR_INVALID_DATA',
  'WSHUB_ERR_MESSAGE_TOO_BIG',
  'WSHUB_ERR_SLOW_CONSUMER',
  'WSHUB_ERR_TOO_MANY_FRAGMENTS',
  'WSHUB_ERR_RATE_LIMIT',
])

/** The most characters of a message or a stack in a warning. */
const MAX_MESSAGE = 1_000
const MAX_STACK = 8_000
/** The number of causes of an error that a warning shows. */
const MAX_CAUSES = 4

/**
 * Reports each error to `onError` of its handler, otherwise to that of the hub, otherwise as a process
 * warning.
 */
export class ErrorReporter<Meta extends object> {
  readonly #hub: Connection['hub']
  readonly #running: RunningHandlers
  readonly #onError: ((error: Error, connection?: Connection) => void) | undefined
  /** The client errors for which a warning was emitted. */
  readonly #warned = new Set<unknown>()

  constructor(
    hub: Connection['hub'],
    running: RunningHandlers,
    onError: ((error: Error, connection?: Connection) => void) | undefined,
  ) {
    this.#hub = hub
    this.#running = running
    this.#onError = onError
  }

  report(error: Error, source: ErrorSource<Meta> = {}): void {
    const { connection, handler, path } = source
    if (errorChannel.hasSubscribers) errorChannel.publish({ hub: this.#hub, connection, error })
    if (connection !== undefined && handler !== undefined) {
      if (this.#tellHandler(error, connection, handler, path)) return
    }
    const onError = this.#onError
    if (onError === undefined) {
      this.#warn(error, source)
      return
    }
    // The type of the option does not have the application's Meta.
    const general = connection as unknown as Connection | undefined
    const pending = runHandler('the option onError', () => onError(error, general), {
      failed: (thrown, where) => this.#warn(thrown, { ...source, where }),
    })
    this.#running.watch(pending)
  }

  /** Returns whether the handler has an `onError`. */
  #tellHandler(
    error: Error,
    connection: Connection<Meta>,
    handler: EventHandler<Meta>,
    path: string | undefined,
  ): boolean {
    let isTold = true
    const call = () => {
      if (handler.onError !== undefined) return handler.onError(connection, error)
      isTold = false
      return undefined
    }
    const pending = runHandler('onError', call, {
      failed: (thrown, where) => this.report(thrown, { where, connection, path }),
    })
    this.#running.watch(pending)
    return isTold
  }

  #warn(error: Error, { where, connection, path }: ErrorSource<Meta>): void {
    const code = textOf(error, 'code')
    if (error instanceof HubError && CLIENT_FAULTS.has(code)) {
      if (this.#warned.has(code)) return
      this.#warned.add(code)
    }
    const ofPath = path === undefined ? '' : ` (${path})`
    const ofConnection = connection === undefined ? '' : `connection ${connection.id}${ofPath}`
    const message = shorten(textOf(error, 'message') ?? '', MAX_MESSAGE)
    const subject =
      where === undefined ? ofConnection : `${[where, ofConnection].filter(Boolean).join(' of ')} failed`
    process.emitWarning(
      new HubWarning(subject === '' ? message : `${subject}: ${message}`, error, code, where),
    )
  }
}

/**
 * The class of warnings. Node reads properties of a warning, which an application's error may have made
 * unreadable.
 */
class HubWarning extends Error {
  override readonly name = 'HubWarning'
  readonly code: string | undefined
  /**
   * Node prints this below the message: it prints the stack of the warning itself only with
   * `--trace-warnings`.
   */
  readonly detail: string | undefined

  constructor(message: string, cause: Error, code: string | undefined, where: string | undefined) {
    super(message, { cause })
    this.stack = `HubWarning: ${message}`
    this.code = code
    // If the error was created here, its stack shows only the hub.
    const thrown = code === 'WSHUB_ERR_HANDLER_THREW' ? propertyOf(cause, 'cause') : cause
    this.detail = where === undefined ? undefined : stacks(thrown)
  }
}

/**
 * Returns the stack of a value thrown by user code, and those of its causes; `undefined` when it has none.
 */
function stacks(error: unknown): string | undefined {
  const lines: string[] = []
  const seen = new Set<unknown>()
  for (
    let next: unknown = error;
    !seen.has(next) && seen.size <= MAX_CAUSES;
    next = propertyOf(next, 'cause')
  ) {
    const stack = textOf(next, 'stack')
    if (stack === undefined) break
    lines.push(seen.size === 0 ? stack : `Caused by: ${stack}`)
    seen.add(next)
  }
  return lines.length === 0 ? undefined : shorten(lines.join('\n'), MAX_STACK)
}

function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text
}
