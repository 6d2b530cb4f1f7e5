// npm run test:nodes [-- 22 26] [vitest arguments…]: runs the suite on each Node, as npm distributes it;
// nothing is installed outside .cache.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { folderOf, nodeBinary } from './node-binary.mjs'

const MAJORS = ['20', '22', '24', '26']
const SUITE_MS = 1_800_000

const root = fileURLToPath(new URL('..', import.meta.url))
const isWindows = process.platform === 'win32'

const args = process.argv.slice(2)
const picked = args.filter((arg) => /^\d+$/.test(arg))
const vitestArgs = args.filter((arg) => !/^\d+$/.test(arg))

let failures = 0
for (const major of picked.length > 0 ? picked : MAJORS) {
  const log = join(folderOf(major), 'test.log')
  const started = performance.now()
  let version = `v${major}`
  let result
  try {
    const node = nodeBinary(major)
    version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
    result = await runSuite(node, log)
  } catch (error) {
    result = { problem: error.message }
  }
  const seconds = Math.round((performance.now() - started) / 1000)
  const { problem, summary } = result
  console.log(`Node ${version}: ${problem ?? 'passed'}${summary ? `, ${summary}` : ''} (${seconds} s)`)
  if (problem === undefined) continue
  failures++
  if (existsSync(log)) console.log(readFileSync(log, 'utf8'))
}
process.exitCode = failures > 0 ? 1 : 0

/** Runs vitest, and every `node` that it starts, on that Node. */
function runSuite(node, log) {
  const output = openSync(log, 'w')
  const child = spawn(node, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...vitestArgs], {
    cwd: root,
    // npm tells its scripts which Node runs it; here it has to be another one.
    env: {
      ...process.env,
      PATH: dirname(node) + delimiter + process.env.PATH,
      NODE: node,
      npm_node_execpath: node,
      NO_COLOR: '1',
    },
    stdio: ['ignore', output, output],
    // A process group: everything that a hanging suite has started ends with it.
    detached: !isWindows,
  })
  const stop = () => {
    if (isWindows) child.kill()
    else process.kill(-child.pid, 'SIGKILL')
  }
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      stop()
    }, SUITE_MS)
    const interrupted = () => {
      stop()
      process.exit(130)
    }
    process.once('SIGINT', interrupted)
    process.once('SIGTERM', interrupted)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      process.off('SIGINT', interrupted)
      process.off('SIGTERM', interrupted)
      const summary = /^\s*Tests\s+(.*)$/m.exec(readFileSync(log, 'utf8'))?.[1]
      if (isLate) resolve({ problem: `not done after ${SUITE_MS / 1000} s`, summary })
      else if (code === 0 && summary === undefined) resolve({ problem: 'ran no tests' })
      else if (code === 0) resolve({ summary })
      else resolve({ problem: `FAILED (${code ?? signal})`, summary })
    })
  })
}
