// npm run fuzz [-- inputs [seed]]: sends hostile bytes as handshakes and on open connections, 100,000 by
// default.
import { fuzz } from '../test/fuzz/fuzz.ts'

const PROGRESS_MS = 10_000
const DEADLINE_MS = 3_600_000

const [inputs = 100_000, seed = Math.floor(Math.random() * 2 ** 31)] = process.argv.slice(2).map(Number)
if (!Number.isInteger(inputs) || inputs < 1 || !Number.isInteger(seed)) {
  console.error('npm run fuzz [-- inputs [seed]], both integers')
  process.exit(2)
}

console.log(`${inputs} inputs, seed ${seed}`)
let thrown = 0
const progress = setInterval(() => console.log(`  ${thrown} inputs`), PROGRESS_MS).unref()
setTimeout(() => {
  console.error(`took longer than ${DEADLINE_MS} ms`)
  process.exit(1)
}, DEADLINE_MS).unref()

try {
  const report = await fuzz({
    inputs,
    seed,
    onProgress: (count) => (thrown = count),
    onFailure: (error) => console.error(`${error}\nlooking for a smaller counterexample …`),
  })
  console.log(JSON.stringify(report, null, 2))
  console.log(`${report.inputs} inputs, seed ${report.seed}: passed in ${report.seconds} s`)
} catch (error) {
  console.error(`failed after ${thrown} inputs, seed ${seed}:`, error)
  process.exitCode = 1
} finally {
  clearInterval(progress)
}
