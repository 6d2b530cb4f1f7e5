// npm run simulate [-- --seeds 100000] [--seed 1]: clusters of hubs under virtual time, see test/simulation.
// The seeds begin with that one. The first that breaks a rule is shrunk and printed.
import { parseArgs } from 'node:util'
import { describeFailure, runSeeds } from '../test/simulation/seeds.ts'
import { shrink } from '../test/simulation/shrink.ts'

const PROGRESS_SEEDS = 1_000

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' } },
})
const seeds = Number(values.seeds)
const first = Number(values.seed)
if (!Number.isInteger(seeds) || seeds < 1 || !Number.isInteger(first)) {
  console.error('npm run simulate [-- --seeds 100000] [--seed 1], both integers')
  process.exit(2)
}

const started = process.cpuUsage()
const report = await runSeeds(first, seeds, (done) => {
  if (done % PROGRESS_SEEDS === 0) console.log(`  ${done} seeds`)
})
const { user, system } = process.cpuUsage(started)
const cpuMs = (user + system) / 1_000 / report.seeds
console.log(
  `${report.seeds} seeds from ${first}, ${report.messages} messages, ${cpuMs.toFixed(1)} ms of CPU each`,
)
if (report.failure !== undefined) {
  console.error(`seed ${report.failure.script.seed} fails; looking for a shorter script …`)
  console.error(describeFailure(await shrink(report.failure)))
  process.exitCode = 1
}
