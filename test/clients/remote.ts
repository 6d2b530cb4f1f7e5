import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import { Journal } from '../support/hub-server.ts'

/** Commands of a client. Bytes are characters with these numbers. */
export type Command =
  | { do: 'open'; url: string; protocols: readonly string[] }
  | { do: 'text'; data: string }
  | { do: 'binary'; data: string }
  | { do: 'fragments'; data: readonly string[] }
  | { do: 'ping'; data: string }
  | { do: 'close'; with: readonly [] | readonly [code: number, reason: string] }

/** Events of a client. `failed`: it did not open; `status`: the HTTP status of its refusal. */
export type RemoteEvent =
  | { event: 'open'; protocol: string }
  | { event: 'text'; data: string }
  | { event: 'binary'; data: string }
  | { event: 'pong'; data: string }
  | { event: 'status'; status: number }
  | { event: 'failed' }
  | { event: 'close'; code: number; reason: string; wasClean: boolean }

/** A client of another implementation. */
export class Remote {
  readonly #events = new Journal<RemoteEvent>()
  readonly #statuses = new Journal<number>()
  readonly #say: (command: Command) => void
  readonly #leave: () => void
  #taken = 0

  constructor(say: (command: Command) => void, leave: () => void) {
    this.#say = say
    this.#leave = leave
  }

  /** A client in its own process that reads commands and writes events, a line of JSON each. */
  static spawn(file: string, args: readonly string[]): Remote {
    const child: ChildProcess = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    const leave = () => void child.kill('SIGKILL')
    onTestFinished(leave)
    const remote = new Remote((command) => child.stdin?.write(`${JSON.stringify(command)}\n`), leave)
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => remote.told(JSON.parse(line)))
    }
    return remote
  }

  /** Takes an event from the client. */
  told(event: RemoteEvent): void {
    // The status comes through another channel than the events, before or after the failure.
    if (event.event === 'status') this.#statuses.push(event.status)
    else this.#events.push(event)
  }

  say(command: Command): void {
    this.#say(command)
  }

  /** The next event that has not been taken. */
  async next(): Promise<RemoteEvent> {
    const index = this.#taken++
    const all = await this.#events.until('an event', ({ length }) => length > index)
    const event = all[index]
    if (event === undefined) throw new Error('an event has gone')
    return event
  }

  /** The HTTP status of its refusal. */
  status(): Promise<number> {
    return this.#statuses.first('the status', () => true)
  }

  /** Disconnects: the process is killed, or the page closed. */
  leave(): void {
    this.#leave()
  }
}
