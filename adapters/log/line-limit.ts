import { Guard } from '../observing/guard.ts'
import type { Level, Logger } from './log-options.ts'

/** The lines of one class since the limit began to count. */
interface Written {
  readonly level: Level
  lines: number
  omitted: number
}

/** Writes a few lines of each class within some time, and counts the others. */
export class LineLimit {
  readonly #logger: Logger
  readonly #maxLines: number
  readonly #everyMs: number
  /** By message, of which there are as many as classes of events. */
  readonly #written = new Map<string, Written>()
  readonly #guard = new Guard('the logger of logTo')
  #timer: NodeJS.Timeout | undefined

  constructor(
    logger: Logger,
    { maxLines, everyMs }: { readonly maxLines: number; readonly everyMs: number },
  ) {
    this.#logger = logger
    this.#maxLines = maxLines
    this.#everyMs = everyMs
  }

  /** @param fields is called only for a line that is written */
  write(level: Level, message: string, fields: () => object): void {
    this.#timer ??= setTimeout(() => this.#passed(), this.#everyMs).unref()
    const written = this.#written.get(message) ?? { level, lines: 0, omitted: 0 }
    this.#written.set(message, written)
    if (written.lines >= this.#maxLines) {
      written.omitted++
      return
    }
    written.lines++
    this.#log(level, fields(), message)
  }

  /** Writes how many lines were left out, and writes no more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#passed()
  }

  #passed(): void {
    this.#timer = undefined
    const written = [...this.#written]
    this.#written.clear()
    for (const [message, { level, omitted }] of written) {
      if (omitted > 0) this.#log(level, { omitted, withinMs: this.#everyMs }, `${message} (${omitted} more)`)
    }
  }

  #log(level: Level, fields: object, message: string): void {
    this.#guard.run(() => this.#logger[level](fields, message))
  }
}
