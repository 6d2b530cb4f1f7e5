import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
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

/** Signs that a file measures its process, listens to it, or starts other programs. */
const OWN =
  /vi\.(mock|stub)|\bprocess\b[,.]|garbage|hearWarnings|stray-errors|support\/(thrown|servers)|child_process/

/**
 * The files of tests, from the root of the project: those that may share a process with each other, which
 * saves half a second of computing each, and those that have a process of their own.
 */
export function testFiles(): { shared: string[]; own: string[] } {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.test.ts'))
  const isShared = (name: string) =>
    PLAIN.includes(name.split('/')[0] ?? '') && !OWN.test(readFileSync(join(folder, name), 'utf8'))
  const path = (name: string) => `test/${name}`
  return {
    shared: names.filter(isShared).map(path),
    own: names.filter((name) => !isShared(name)).map(path),
  }
}
