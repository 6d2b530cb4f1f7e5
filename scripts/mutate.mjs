// npm run mutate [-- src/cluster/gaps.ts…]: changes a source in every way that Stryker knows, one change at a
// time, and runs the tests that reach it. Prints the changes that no test noticed. Without names, it runs for
// the most important files, one after the other.
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Stryker } from '@stryker-mutator/core'

/**
 * The most important files. Their mutants have to fail the tests in the file of the same name, or the files
 * listed here: if a test notices a change only by accident, it does not document what the file promises. Any
 * other file is tested by the tests of its whole folder, which takes far longer.
 */
const NOUNS = {
  'src/base/token-bucket.ts': ['test/connection/rate-limit.test.ts'],
  'src/delivery/congestion.ts': [],
  'src/delivery/flush-loop.ts': [],
  'src/hub/room-index.ts': [],
  'src/cluster/gaps.ts': [],
  'src/cluster/sequences.ts': [],
  'src/cluster/replay-window.ts': [],
  'src/cluster/subscriptions.ts': [],
  'src/connection/keepalive.ts': ['test/connection/keepalive-sweeps.test.ts'],
  'src/connection/rate-limit.ts': [],
  'src/upgrade/address-limits.ts': [],
  'src/upgrade/client-address.ts': [],
  'src/protocol/handshake.ts': [],
  'src/protocol/permessage-deflate.ts': [],
  'src/cluster/wire/envelope.ts': [],
}
/** The share of a file's mutants, in percent. */
const LEAST_KILLED = 90
/**
 * A mutant that hangs is ended after this time, in addition to the time its tests take, which Stryker
 * measures.
 */
const HANGS_MS = 10_000

const root = fileURLToPath(new URL('..', import.meta.url))
process.chdir(root)

const named = process.argv.slice(2).map((path) => relative(root, path))
const files = named.length > 0 ? named : Object.keys(NOUNS)
const unknown = files.filter((file) => !existsSync(file.replace(/:.*/, '')))
if (unknown.length > 0) {
  console.error(`no such file: ${unknown.join(', ')}`)
  process.exit(2)
}

const tempDirName = '.cache/mutate'
mkdirSync('.cache', { recursive: true })
const summary = []
try {
  for (const file of files) summary.push(await mutate(file))
} finally {
  rmSync(join(root, tempDirName), { recursive: true, force: true })
}

if (summary.length > 1) for (const line of summary) console.log(line.text)
process.exitCode = summary.every(({ isGood }) => isGood) ? 0 : 1

/** Mutates one file; with several at once, the tests of all would run for each. */
async function mutate(file) {
  const started = performance.now()
  // Read by mutate.vitest.ts in the processes of Stryker.
  process.env.WSHUB_MUTATE_TESTS = JSON.stringify(testsOf(file.replace(/:.*/, '')))
  const mutants = await new Stryker({
    mutate: [file],
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: { configFile: 'scripts/mutate.vitest.ts', related: false },
    // Mutants in code that runs once, when the module is loaded, would need all tests each.
    ignoreStatic: true,
    coverageAnalysis: 'perTest',
    // Vitest may end its worker before it has sent the report of the failed test, and the mutant would have
    // survived.
    disableBail: true,
    concurrency: 2,
    timeoutMS: HANGS_MS,
    dryRunTimeoutMinutes: 30, // a minute on quiet cores
    tempDirName,
    ignorePatterns: ['dist', 'bench', 'coverage', '.cache', 'docs'],
    disableTypeChecks: false, // Vite removes types, and looks at none
    reporters: ['progress-append-only'],
    logLevel: 'warn',
    allowConsoleColors: false,
  }).runMutationTest()
  const report = (status) => mutants.filter((mutant) => mutant.status === status)
  const survivors = [...report('Survived'), ...report('NoCoverage')].sort(byPlace)
  for (const { location, mutatorName, replacement, status } of survivors) {
    const { line, column } = location.start
    const how = status === 'NoCoverage' ? ', which no test reaches' : ''
    console.log(`${file}:${line}:${column} ${mutatorName} → ${replacement?.replace(/\s+/g, ' ')}${how}`)
  }
  const killed = report('Killed').length + report('Timeout').length
  const all = killed + survivors.length
  const percent = all === 0 ? 0 : (100 * killed) / all
  const isGood = percent >= LEAST_KILLED
  const byClock = report('Timeout').length
  const others = mutants.length - all
  const text = [
    `${file}: ${killed} of ${all} mutants killed, ${percent.toFixed(1)} %${isGood ? '' : `, below ${LEAST_KILLED} %`}`,
    byClock > 0 ? `${byClock} of them by the clock` : '',
    others > 0 ? `${others} static, ignored` : '',
    `${Math.round((performance.now() - started) / 1_000)} s`,
  ]
    .filter((part) => part !== '')
    .join('; ')
  console.log(text)
  return { text, isGood }
}

function testsOf(file) {
  const beside = NOUNS[file]
  if (beside === undefined) return [`test/${file.split('/')[1]}/**`]
  return [file.replace(/^src(.*)\.ts$/, 'test$1.test.ts'), ...beside]
}

function byPlace({ location: a }, { location: b }) {
  return a.start.line - b.start.line || a.start.column - b.start.column
}
