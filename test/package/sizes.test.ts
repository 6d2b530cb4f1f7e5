import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from './support.ts'

const MAX_LINES = 350
/** A file of tests may be longer: it has one noun, whose cases stand side by side. */
const MAX_TEST_LINES = 450
/** The file that may be longer, and how long it may be. */
const LONGER: Readonly<Record<string, number>> = {
  // The whole API of a hub: half of it is the documentation of its methods.
  'src/hub/hub.ts': 450,
}
const FOLDERS = ['src', 'adapters', 'client', 'testing', 'examples', 'scripts', 'bench']

it(`A file has at most ${MAX_LINES} lines, but one`, () => {
  const files = filesOf(FOLDERS)
  expect(files.length).toBeGreaterThan(100)
  expect(longer(files, MAX_LINES)).toEqual([])
})

it(`A file of tests has at most ${MAX_TEST_LINES} lines`, () => {
  const files = filesOf(['test'])
  expect(files.length).toBeGreaterThan(200)
  expect(longer(files, MAX_TEST_LINES)).toEqual([])
})

function filesOf(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.[cm]?[jt]s$/.test(path) && !path.includes('node_modules'))
      .map((path) => `${folder}/${path}`),
  )
}

/** Returns the files that have more lines than they may, each with their number. */
function longer(files: readonly string[], maxLines: number): { file: string; lines: number }[] {
  return files
    .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ file, lines }) => lines > (LONGER[file] ?? maxLines))
}
