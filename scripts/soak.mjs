// npm run soak -- [seconds] [clients]: a long soak of a server in its own process, see test/soak/soak.ts;
// before that, rooms come and go in a cluster, below every limit, see test/soak/churn.ts.
import { churn, MAX_BYTES_PER_ROOM } from '../test/soak/churn.ts'
import { soak } from '../test/soak/soak.ts'

const [seconds = 600, clients = 1_500] = process.argv.slice(2).map(Number)
const problems = []

const rooms = 500_000
console.log(`${rooms} rooms come and go, with a backplane`)
const { heapBytes, ...churned } = await churn({ rounds: 10, roomsPerRound: rooms / 10 })
console.table(churned)
if (churned.bytesPerRoom >= MAX_BYTES_PER_ROOM || churned.lost > 0) {
  problems.push(
    `a room left ${churned.bytesPerRoom} bytes behind: ${heapBytes.join(', ')}; ${churned.lost} messages lost`,
  )
}

console.log(`${clients} clients at once, for ${seconds} s`)
const soaked = await soak({ seconds, clients })
console.table(soaked.figures)
problems.push(...soaked.problems)

for (const problem of problems) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1
