// npm run simulate:planted [-- words]: plants one bug after the other, those of test/simulation/planted
// whose name or file has these words, and runs seeds until one finds it: one that fails with the bug, and
// passes without. Fails for a bug that none of them finds. Only scripts with histories can find a bug in
// src/history.
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { BUGS, plant } from '../test/simulation/planted/bugs.ts'
import { run } from '../test/simulation/run.ts'
import { scriptOf } from '../test/simulation/script.ts'

const MAX_SEEDS = 2_000
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, `.cache/planted-${process.pid}`)
const words = process.argv.slice(2).join(' ')
const bugs = BUGS.filter(({ name, file }) => name.includes(words) || file.includes(words))

mkdirSync(folder, { recursive: true })
let missed = 0
try {
  for (const [place, bug] of bugs.entries()) {
    const outfile = join(folder, `${place}.mjs`)
    await bundle(bug, outfile)
    const { seed, rule } = await find(outfile)
    if (rule === undefined) missed++
    console.log(`${rule === undefined ? 'NOT FOUND' : `${seed} seeds`}\t${rule ?? ''}\t${bug.name}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${bugs.length - missed} of ${bugs.length} bugs found`)
process.exitCode = missed > 0 || bugs.length === 0 ? 1 : 0

/** Returns the first seed that breaks a rule with the bug, and none without it. */
async function find(outfile) {
  for (let first = 1; first <= MAX_SEEDS; ) {
    const { seed, rule } = JSON.parse(await output(outfile, first))
    if (seed === undefined) break
    const { violation } = await run(scriptOf(seed))
    if (violation === undefined) return { seed, rule }
    console.log(`seed ${seed} does not count: it breaks the rule ${violation.rule} without a bug`)
    first = seed + 1
  }
  return {}
}

/** Returns the condition for a seed whose script can find a bug in a file. */
function meantFor(file) {
  if (file.startsWith('src/history/')) return 'hasHistory(seed)'
  return file.startsWith('src/presence/')
    ? '!hasHistory(seed) && scriptOf(seed).settings.hasPresence'
    : 'true'
}

/** Writes a program that runs the seeds from one to the last on a source with the bug. */
async function bundle(bug, outfile) {
  const path = join(root, bug.file)
  await build({
    stdin: {
      contents: `import { hasHistory, scriptOf } from './test/simulation/script.ts'
        import { runSeeds } from './test/simulation/seeds.ts'
        const isMeant = (seed) => ${meantFor(bug.file)}
        const first = Number(process.argv[2])
        const { failure } = await runSeeds(first, ${MAX_SEEDS + 1} - first, undefined, isMeant)
        console.log(JSON.stringify({ seed: failure?.script.seed, rule: failure?.run.violation?.rule }))`,
      resolveDir: root,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    alias: { wshub: join(root, 'src/index.ts') },
    outfile,
    plugins: [
      {
        name: 'planted',
        setup: ({ onLoad }) => {
          onLoad({ filter: /\.ts$/ }, (args) =>
            args.path === path
              ? { contents: plant(bug, readFileSync(path, 'utf8')), loader: 'ts' }
              : undefined,
          )
        },
      },
    ],
  })
}

/** Runs a program, and returns what it prints. */
function output(file, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(text) : reject(new Error(`${file} ends with ${code}`))))
  })
}
