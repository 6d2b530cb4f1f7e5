import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('..', import.meta.url))

/** Folders of tests that need nothing but the sources. */
const PLAIN = [
  'adapters',
  'base',
  'client',
  'cluster',
  'conformance',
  'connection',
  'delivery',
  'history',
  'hub',
  'presence',
  'protocol',
  'testing',
  'upgrade',
]

/** Signs that a test measures its process, or listens to it. */
const OWN = /vi\.(mock|stub)|\bprocess\b[,.]|garbage|hearWarnings|stray-errors|support\/thrown/

/** Signs that a file starts a program that runs beside it. */
const PROGRAM = /import (?!\{ execFileSync \}).*'node:child_process'|import (?!type).* from 'playwright-core'/

/** Imports of files that are beside it. */
const IMPORT = /^(?:import|export|\}) .*from '(\.[^']+\.ts)'$/gm

/**
 * The files of tests, from the root of the project: those that may share a process with each other, which
 * saves half a second of computing each, and those that have a process of their own.
 */
export function testFiles(): { shared: string[]; own: string[] } {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.test.ts'))
  const starting = new Map<string, boolean>()
  const isShared = (name: string) => {
    if (!PLAIN.includes(name.split('/')[0] ?? '')) return false
    const file = join(folder, name)
    return !OWN.test(readFileSync(file, 'utf8')) && !startsPrograms(file, starting)
  }
  const path = (name: string) => `test/${name}`
  return {
    shared: names.filter(isShared).map(path),
    own: names.filter((name) => !isShared(name)).map(path),
  }
}

/** Whether a file starts programs, or one that it imports does. @param known the answers so far */
function startsPrograms(file: string, known: Map<string, boolean>): boolean {
  const before = known.get(file)
  if (before !== undefined) return before
  known.set(file, false) // files may import each other
  const text = readFileSync(file, 'utf8')
  const imports = [...text.matchAll(IMPORT)].map(([, path = '']) => join(dirname(file), path))
  const isStarting = PROGRAM.test(text) || imports.some((path) => startsPrograms(path, known))
  known.set(file, isStarting)
  return isStarting
}
