// node node-runtime.mjs: takes programs, lines of JSON, and answers with what they return, lines of JSON.
import { createInterface } from 'node:readline'
import { runInThisContext } from 'node:vm'

for await (const line of createInterface({ input: process.stdin })) {
  const { id, program } = JSON.parse(line)
  Promise.resolve()
    .then(() => runInThisContext(program))
    .then(
      (result) => ({ id, result }),
      (error) => ({ id, error: String(error?.stack ?? error) }),
    )
    .then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`))
}
