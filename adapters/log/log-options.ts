import { HubError } from 'wshub'
import { checkMethods, checkOptions, show } from '../arguments.ts'

/** The methods of a logger: of pino, of `fastify.log`, of `console`. */
export interface Logger {
  debug(fields: object, message: string): unknown
  info(fields: object, message: string): unknown
  warn(fields: object, message: string): unknown
  error(fields: object, message: string): unknown
}

/** A method of a {@link Logger}. */
export type Level = keyof Logger

/** Options of `logTo`. An explicit `undefined` means the default. */
export interface LogOptions {
  /** The most lines of one class of events within `everyMs`, 1 or more; the rest is counted. Default 5. */
  maxLines?: number | undefined
  /** Time, in ms, for which `maxLines` holds, 1 or more. Default 10 000. */
  everyMs?: number | undefined
}

const DEFAULTS = { maxLines: 5, everyMs: 10_000 } as const

/** The longest time that a timer can wait. */
const MAX_MS = 2_147_483_647

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readLogOptions(options: LogOptions): Required<{ maxLines: number; everyMs: number }> {
  checkOptions(options, Object.keys(DEFAULTS), 'logTo')
  const { maxLines = DEFAULTS.maxLines, everyMs = DEFAULTS.everyMs } = options
  for (const [key, value] of Object.entries({ maxLines, everyMs })) {
    if (Number.isInteger(value) && value >= 1 && value <= MAX_MS) continue
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `${key} is an integer of 1 or more, not ${show(value)}`)
  }
  return { maxLines, everyMs }
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function checkLogger(logger: Logger): void {
  checkMethods(logger, ['debug', 'info', 'warn', 'error'], 'the logger')
}
