import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { BUILTIN_WEBSOCKET } from '../support/tools.ts'
import { describeRuntime, type Runtime } from './runtimes.ts'

const script = fileURLToPath(new URL('node-runtime.mjs', import.meta.url))
/** This Node, or the newer one of the set-up. */
const node = 'WebSocket' in globalThis ? process.execPath : process.env[BUILTIN_WEBSOCKET.variable]
if (node === undefined) throw new Error('test/support/setup.ts has found no Node with a WebSocket')

interface Answer {
  readonly id: number
  readonly result?: string
  readonly error?: string
}

async function launch(): Promise<Runtime> {
  const child = spawn(node ?? '', [script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const calls = new Map<number, (answer: Answer) => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer: Answer = JSON.parse(line)
    calls.get(answer.id)?.(answer)
    calls.delete(answer.id)
  })
  let count = 0
  return {
    async begin() {},
    async evaluate(program) {
      const id = ++count
      const answered = new Promise<Answer>((resolve) => calls.set(id, resolve))
      child.stdin.write(`${JSON.stringify({ id, program })}\n`)
      const { result, error } = await answered
      if (error !== undefined) throw new Error(error)
      return result ?? ''
    },
    async close() {
      child.kill('SIGKILL')
    },
  }
}

describeRuntime('Node 22 and later', launch, false)
