import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { answersOf, describeHost } from '../docs/host-suite.ts'
import { PagePrograms, programsOf } from '../docs/page-program.ts'
import { root, run } from '../package/support.ts'
import { TEST_MS } from '../support/in-time.ts'
import { bun, deno, type Runtime } from './runtimes.ts'

/** The folder that `npm run test:hosts` has installed the hosts into. */
const installed = join(root, '.cache/hosts')

const quote = (text: string) => text.replaceAll('"', '\\"')

/** Runs the command of a host, in the folder of a page. */
async function command(file: string, args: readonly string[], cwd: string): Promise<void> {
  await run(process.execPath, [join(installed, 'node_modules', file), ...args], { cwd, withinMs: TEST_MS })
}

async function startVite() {
  const programs = await PagePrograms.ofSources('docs/hosts/vite.md')
  const program = programs.run('vite.mjs', [], { cwd: programs.folder })
  const url = await program.lineFrom('http://localhost')
  return { program, url, remove: () => programs.remove() }
}

async function startNext() {
  const programs = await PagePrograms.ofPackage(programsOf('docs/hosts/next.md'), installed)
  const { folder } = programs
  // Next would take the checkout for the project, whose lock file is above that of the page.
  const config = JSON.stringify({ turbopack: { root: installed }, outputFileTracingRoot: installed })
  writeFileSync(join(folder, 'next.config.mjs'), `export default ${config}\n`)
  await command('next/dist/bin/next', ['build'], folder)
  const program = programs.run('next.mjs', [], { cwd: folder, env: { NODE_ENV: 'production' } })
  const url = await program.lineFrom('http://localhost')
  return { program, url, remove: () => programs.remove() }
}

async function startNitro() {
  const programs = await PagePrograms.ofPackage(programsOf('docs/hosts/h3.md'), installed)
  const { folder, port } = programs
  await command('nitro/dist/cli/index.mjs', ['build'], folder)
  const env = { PORT: String(port), NITRO_SHUTDOWN_DISABLED: '1' }
  const program = programs.run('.output/server/index.mjs', [], { env })
  await program.lineFrom('Listening on')
  return { program, url: `http://localhost:${port}`, remove: () => programs.remove() }
}

/** Starts the program of a page on another runtime, with the package as it is built. */
async function startOn(runtime: Runtime, name: string) {
  const programs = await PagePrograms.ofPackage(programsOf(`docs/hosts/${name}.md`), installed)
  const program = programs.run(`${name}.mjs`, [], { runtime })
  return { program, url: await program.lineFrom('http://localhost'), remove: () => programs.remove() }
}

/** Express answers with a page. */
const EXPRESS = {
  foreign: expect.stringContaining('elsewhere.example'),
  plain: expect.stringContaining('must upgrade to'),
}

const asMessage = (_status: number, message: string) => message

describeHost('the server of docs/hosts/vite.md', startVite, {
  ...answersOf(asMessage, 'nothing at /nowhere'),
  ...EXPRESS,
})
describeHost('the server of docs/hosts/bun.md', () => startOn(bun(), 'bun'), {
  ...answersOf(asMessage, 'nothing at /nowhere'),
  ...EXPRESS,
})
describeHost('the server of docs/hosts/deno.md', () => startOn(deno(), 'deno'), {
  ...answersOf(asMessage, 'nothing at /nowhere'),
  ...EXPRESS,
})
describeHost(
  'the server of docs/hosts/next.md',
  startNext,
  answersOf(asMessage, expect.stringMatching(/^<!DOCTYPE html>.*404/)),
)
describeHost('the server of docs/hosts/h3.md with Nitro', startNitro, {
  hasHeaders: false,
  ...answersOf(
    // Its answers also have the URL.
    (status, message) => expect.stringContaining(`"status": ${status},\n  "message": "${quote(message)}"`),
    expect.stringContaining('"status": 404'),
  ),
})
