// npm run soak -- [seconds] [clients]: a long soak of a server in a process of its own; see test/soak/soak.ts.
import { soak } from '../test/soak/soak.ts'

const [seconds = 600, clients = 1_500] = process.argv.slice(2).map(Number)
console.log(`${clients} clients at once, for ${seconds} s`)
const { problems, figures } = await soak({ seconds, clients })
console.table(figures)
for (const problem of problems) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1
