// npm run bench -- [scenario...] [--save] [--try] [--seconds <n>] [--kill node|redis]
//
// Measures the cost of wshub for a server, beside its alternatives. Each library runs in its own process,
// pinned to one core. The clients run in another process on another core, on bare sockets, and check every
// message. The figure is the server's CPU time per message, which a noisy machine disturbs least; rounds
// alternate between the libraries, and the medians are compared. A name stands for itself and for all that
// begin with it and a dash: `cluster` for cluster-redis and so on.
//
// Without names all scenarios run, and each replaces its earlier result in docs/bench.json and docs/bench.svg
// as soon as it has one; with names only with --save. One that fails keeps its earlier result, and the run
// goes on. With --try each has one short round, which shows that it runs, and nothing is saved. `--seconds`
// is for `resume` and `resync`: how long they run; `--kill` is for `resume`: what is killed in the middle.
// `--nodes` and `--connections` are for `presence-simulated`.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runBurst } from './burst.ts'
import { runBystanders } from './bystanders.ts'
import { runChurn } from './churn.ts'
import { runCluster } from './cluster.ts'
import { runConnect, runStorm } from './connect.ts'
import { runDelayed } from './delayed.ts'
import { runHttp2 } from './http2.ts'
import { runIdle } from './idle.ts'
import { runInspected } from './inspected.ts'
import { runKept } from './kept.ts'
import { runMemory } from './memory.ts'
import { runObserved } from './observed.ts'
import { plot } from './plot.ts'
import { runPrediction, runProjection } from './prediction.ts'
import { runPresence } from './presence.ts'
import { describeMachine, formatTable, type Machine, shortfalls } from './report.ts'
import type { Result } from './result.ts'
import { readKilled, runResume } from './resume.ts'
import { runResync } from './resync.ts'
import { runReturns } from './returns.ts'
import { IS_TRIAL } from './rounds.ts'
import { runAll } from './run-all.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { runSimulated } from './simulated.ts'
import { runStalled } from './stalled.ts'
import { runStored } from './stored.ts'
import { Subprocess } from './subprocess.ts'
import { runHistory, runSparse, runTraffic } from './traffic.ts'
import { runWindow } from './window.ts'

/** A result, and the machine it was measured on. */
type Saved = Result & { machine: Machine }

const DEADLINE_MS = 10 * 60_000

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    save: { type: 'boolean' },
    try: { type: 'boolean' },
    seconds: { type: 'string' },
    kill: { type: 'string' },
    nodes: { type: 'string' },
    connections: { type: 'string' },
  },
})
const isSaved = !IS_TRIAL && (names.length === 0 || flags.save === true)
const unknown = names.filter((name) => !Object.keys(SCENARIOS).some((scenario) => isMeant(scenario, name)))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; the scenarios are ${Object.keys(SCENARIOS).join(', ')}`)
  process.exit(2)
}

execFileSync('npm', ['run', 'build'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: ['ignore', 2, 2],
})

const machine = describeMachine()
const results: Result[] = []
const failures: string[] = []
const chosen = Object.entries(SCENARIOS).filter(
  ([name]) => names.length === 0 || names.some((meant) => isMeant(name, meant)),
)
await runAll({
  scenarios: chosen,
  deadlineMs: DEADLINE_MS,
  run,
  onResult(result, seconds) {
    results.push(result)
    console.log(`${formatTable(result, machine)}\n${seconds.toFixed()} s`)
    if (isSaved) save(result)
  },
  onFailure(name, reason) {
    console.error(`\n${name} failed:`, reason)
    failures.push(name)
  },
  endProcesses: () => Subprocess.stopAll(),
})

const short = results.flatMap(shortfalls)
if (results.some((result) => result.isCheck && shortfalls(result).length > 0)) process.exitCode = 1
if (failures.length > 0) {
  process.exitCode = 1
  console.error(`\nFailed: ${failures.join(', ')}`)
}
console.log(short.length === 0 ? '\nAll targets are met.' : `\nFalls short:\n  ${short.join('\n  ')}`)
process.exit() // timers and sockets of a scenario that was late would keep the process alive

/** Puts a result in place of the earlier one of its scenario. */
function save(result: Result): void {
  const file = new URL('../docs/bench.json', import.meta.url)
  const earlier: Saved[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  const all = Object.keys(SCENARIOS).flatMap((name) =>
    [{ ...result, machine }, ...earlier].filter(({ scenario }) => scenario === name).slice(0, 1),
  )
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`)
  writeFileSync(new URL('../docs/bench.svg', import.meta.url), plot(all, machine))
}

function isMeant(scenario: string, name: string): boolean {
  return scenario === name || scenario.startsWith(`${name}-`)
}

function run(name: string, scenario: Scenario): Promise<Result> {
  switch (scenario.kind) {
    case 'traffic':
      return runTraffic(name, scenario)
    case 'window':
      return runWindow(name, scenario)
    case 'sparse':
      return runSparse(name, scenario)
    case 'history':
      return runHistory(name, scenario)
    case 'delayed':
      return runDelayed(name, scenario)
    case 'kept':
      return runKept(name, scenario)
    case 'returns':
      return runReturns(name, scenario)
    case 'presence':
      return runPresence(name, scenario)
    case 'simulated': {
      const { nodes = scenario.nodes, connections = scenario.connections } = flags
      return runSimulated(name, { ...scenario, nodes: Number(nodes), connections: Number(connections) })
    }
    case 'resync':
      return runResync(name, scenario, Number(flags.seconds ?? scenario.seconds))
    case 'stored':
      return runStored(name, scenario)
    case 'resume':
      return runResume(name, scenario, readKilled(flags.kill), Number(flags.seconds ?? scenario.seconds))
    case 'memory':
      return runMemory(name, scenario)
    case 'connect':
      return runConnect(name, scenario)
    case 'storm':
      return runStorm(name, scenario)
    case 'http2':
      return runHttp2(name, scenario)
    case 'idle':
      return runIdle(name, scenario)
    case 'observed':
      return runObserved(name, scenario)
    case 'inspected':
      return runInspected(name, scenario)
    case 'stalled':
      return runStalled(name, scenario)
    case 'burst':
      return runBurst(name, scenario)
    case 'cluster':
      return runCluster(name, scenario)
    case 'bystanders':
      return runBystanders(name, scenario)
    case 'churn':
      return runChurn(name, scenario)
    case 'prediction':
      return runPrediction(name, scenario)
    case 'projection':
      return runProjection(name, scenario)
  }
}
