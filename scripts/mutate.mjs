// npm run mutate [-- src/cluster/gaps.ts…]: changes a source in every way that Stryker knows, one change at a
// time, and runs the tests that reach it. Prints the changes that no test noticed. Without names, the nouns
// that everything rests on, one after the other.
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Stryker } from '@stryker-mutator/core'

/**
 * The nouns that everything rests on. Their mutants have to fail the tests in the file of the noun's name, or
 * these beside them: a test that notices a change only by accident does not say what the noun promises. Any
 * other file is tested by its whole room, which takes far longer.
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
  'src/connection/keepalive.ts': [],
  'src/connection/rate-limit.ts': [],
  'src/upgrade/address-limits.ts': [],
  'src/upgrade/client-address.ts': [],
  'src/protocol/handshake.ts': [],
  'src/protocol/permessage-deflate.ts': [],
  'src/cluster/wire/envelope.ts': [],
}
/** Of the mutants of a file, in percent. */
const LEAST_KILLED = 90
/** A mutant that hangs is killed by the clock; beside the time its tests take, which Stryker measures. */
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

/** Mutates one file; several at once would run the tests of all for each. */
async function mutate(file) {
  const started = performance.now()
  // For mutate.vitest.ts, which the processes of Stryker read.
  process.env.WSHUB_MUTATE_TESTS = JSON.stringify(testsOf(file.replace(/:.*/, '')))
  const mutants = await new Stryker({
    mutate: [file],
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: { configFile: 'scripts/mutate.vitest.ts', related: false },
    // What runs once, as the module is loaded, would have all tests run for each mutant.
    ignoreStatic: true,
    coverageAnalysis: 'perTest',
    // Vitest may end its worker before the report of the test that failed has left it, and the mutant would
    // have survived.
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
