import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../support/hub-server.ts'
import { root } from './support.ts'

/** A program that notes its process in a file of that name, and runs until it is ended. */
const RUNS = `
require('node:fs').writeFileSync(process.argv[2] + '.' + process.pid, '')
setInterval(() => {}, 1_000)
`

/** Runs the script in a package of its own, whose npm scripts are these. */
function testIn(scripts: Readonly<Record<string, string>>): { folder: string; child: ChildProcess } {
  const folder = mkdtempSync(join(tmpdir(), 'wshub-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const name of ['scripts', 'node_modules/vitest']) mkdirSync(join(folder, name), { recursive: true })
  cpSync(join(root, 'scripts/test.mjs'), join(folder, 'scripts/test.mjs'))
  writeFileSync(join(folder, 'runs.cjs'), RUNS)
  writeFileSync(
    join(folder, 'node_modules/vitest/vitest.mjs'),
    `process.argv[2] = 'tests'\nawait import('../../runs.cjs')`,
  )
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, scripts }))
  const child = spawn(process.execPath, [join(folder, 'scripts/test.mjs')], { stdio: 'ignore' })
  onTestFinished(() => {
    child.kill('SIGKILL')
    for (const pid of noted(folder).values()) isRunning(pid, 'SIGKILL')
  })
  return { folder, child }
}

/** Returns the processes that the programs of a package have noted, by their names. */
function noted(folder: string): Map<string, number> {
  const notes = readdirSync(folder).map((name) => /^(\w+)\.(\d+)$/.exec(name))
  return new Map(notes.flatMap((note) => (note === null ? [] : [[note[1] ?? '', Number(note[2])]])))
}

/** Returns whether a process runs, after a signal to it. */
function isRunning(pid: number, signal: NodeJS.Signals | 0 = 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

describe('npm test', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('ends what it has started on %s', async (signal) => {
    const scripts = { build: 'true', lint: 'true && node runs.cjs lint', types: 'node runs.cjs types' }
    const { folder, child } = testIn(scripts)
    await eventually(
      'the tests and the checks to run',
      () => noted(folder).size === 2,
      () => readdirSync(folder),
    )
    const pids = noted(folder)
    expect([...pids.keys()].sort()).toEqual(['lint', 'tests'])
    const closed = once(child, 'close')
    child.kill(signal)
    await closed
    await eventually(
      'them to end',
      () => [...pids.values()].every((pid) => !isRunning(pid)),
      () => [...pids],
    )
    expect(child.exitCode).not.toBe(0)
  })
})
