// npm test [-- vitest arguments…]: builds the package, then runs all tests, while another core checks types
// and style. What the checks find is printed when the tests have ended.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const vitest = join(root, 'node_modules/vitest/vitest.mjs')

/** The process groups that are running. */
const groups = new Set()
process.once('exit', endAll)
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

const checks = checkAll(['lint', 'types'])
checks.catch(() => {}) // awaited below, when the tests have ended
const build = await npmRun('build')
if (!build.passed) process.stdout.write(build.output)
const tested = build.passed && (await runTests(process.argv.slice(2)))
const failed = (await checks).filter(({ passed }) => !passed)
for (const { name, output } of failed) console.log(`\n${output}\nnpm run ${name} has failed, see above`)
process.exitCode = tested && failed.length === 0 ? 0 : 1

/** Runs npm scripts, one after the other. */
async function checkAll(names) {
  const results = []
  for (const name of names) results.push(await npmRun(name))
  return results
}

/** Runs an npm script, and keeps what it prints. */
function npmRun(name) {
  const child = start('npm', ['run', '--silent', name], {
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32', // npm is a script there
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ name, passed: code === 0, output }))
  })
}

function runTests(args) {
  const child = start(process.execPath, [vitest, 'run', ...args], { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code === 0))
  })
}

/** Starts a program in a process group of its own, which ends with this process. */
function start(command, args, options) {
  // With the default of Go, 100, the native compiler computes a quarter more, to collect garbage.
  const env = { GOGC: '400', ...process.env }
  const child = spawn(command, args, { ...options, env, cwd: root, detached: process.platform !== 'win32' })
  groups.add(child)
  child.once('close', () => groups.delete(child))
  return child
}

function endAll() {
  for (const { pid } of groups) {
    try {
      process.kill(process.platform === 'win32' ? pid : -pid)
    } catch {} // it has ended, or never began
  }
}
