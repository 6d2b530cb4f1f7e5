import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compiled } from '../support/compiled.ts'
import { freePort } from '../support/free-port.ts'
import { inTime } from '../support/in-time.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The configuration for programs that may have decorators. */
const DECORATORS = join(root, 'test/docs/decorators.tsconfig.json')

/** Returns the blocks of code of a document that begin with a comment naming a file, by that name. */
export function programsOf(document: string): Map<string, string> {
  const text = readFileSync(join(root, document), 'utf8')
  return new Map(
    [...text.matchAll(/^( *)```[jt]s\n *\/\/ ([\w./-]+\.[cm]?[jt]s)\n(.*?)^ *```$/gms)].map(
      ([, indent = '', name = '', code = '']) => [name, code.replaceAll(new RegExp(`^${indent}`, 'gm'), '')],
    ),
  )
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** The program that runs it. Default this Node. */
  readonly runtime?: { readonly file: string; readonly args: readonly string[] }
}

/** The programs of one document in their own folder, on a free port instead of the one in their code. */
export class PagePrograms {
  readonly folder: string
  readonly port: number
  /** Returns the file to run for that of a program. */
  readonly #built: (file: string) => string
  readonly #running: PageProgram[] = []

  private constructor({ folder, port }: Written, built: (file: string) => string) {
    this.folder = folder
    this.port = port
    this.#built = built
  }

  /** Writes them for a run with the sources of this checkout instead of the package. */
  static async ofSources(document: string): Promise<PagePrograms> {
    const written = await write(programsOf(document), join(root, '.cache'))
    return new PagePrograms(written, (file) => compiled(file, DECORATORS))
  }

  /** Writes them for a run with the package that is installed in `project`. */
  static async ofPackage(programs: ReadonlyMap<string, string>, project: string): Promise<PagePrograms> {
    return new PagePrograms(await write(programs, project), (file) => file)
  }

  /** Starts a program, in the checkout or in another folder, and perhaps with variables of its own. */
  run(name: string, args: readonly string[] = [], options: RunOptions = {}): PageProgram {
    const { cwd = root, env = {}, runtime = { file: process.execPath, args: [] } } = options
    const child = spawn(runtime.file, [...runtime.args, this.#built(join(this.folder, name)), ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const program = new PageProgram(name, child)
    this.#running.push(program)
    return program
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#running.map((program) => program.stop('SIGKILL')))
    this.#running.length = 0
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

interface Written {
  readonly folder: string
  readonly port: number
}

async function write(programs: ReadonlyMap<string, string>, parent: string): Promise<Written> {
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'page-'))
  const port = await freePort()
  for (const [name, code] of programs) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), code.replaceAll('8080', String(port)))
  }
  return { folder, port }
}

/** A program that is running. */
export class PageProgram {
  readonly #name: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown[]>
  readonly #waiting = new Set<() => void>()
  #output = ''
  #taken = 0

  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.#child = child
    this.#exited = once(child, 'exit')
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
        for (const look of this.#waiting) look()
      })
    }
    child.once('exit', () => {
      for (const look of this.#waiting) look()
    })
  }

  /** Returns the next line of output that begins so; rejects with all of it when none comes. */
  async lineFrom(start: string): Promise<string> {
    for (;;) {
      const line = await this.line()
      if (line.startsWith(start)) return line
    }
  }

  /** Returns the next line of output; rejects with all of it when none comes. */
  async line(): Promise<string> {
    const end = await inTime(`${this.#name} to print a line`, this.#endOfLine(), () => this.#output)
    const line = this.#output.slice(this.#taken, end)
    this.#taken = end + 1
    return line
  }

  /**
   * Sends a signal, and returns the code that the program exits with, `null` when it is killed by the signal.
   */
  async stop(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal)
    await inTime(`${this.#name} to end after ${signal}`, this.#exited, () => this.#output)
    return this.#child.exitCode
  }

  #endOfLine(): Promise<number> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const end = this.#output.indexOf('\n', this.#taken)
        if (end < 0 && this.#child.exitCode === null) return
        this.#waiting.delete(look)
        if (end >= 0) resolve(end)
        else reject(new Error(`${this.#name} has ended; its output: ${this.#output || '(none)'}`))
      }
      this.#waiting.add(look)
      look()
    })
  }
}
