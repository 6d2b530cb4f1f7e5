import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from './support.ts'

const MAX_LINES = 350
/** The file that may be longer, and how long it may be. */
const LONGER: Readonly<Record<string, number>> = {
  // The whole API of a hub: half of it is the documentation of its methods.
  'src/hub/hub.ts': 450,
}
const FOLDERS = ['src', 'adapters', 'client', 'testing', 'examples', 'scripts', 'bench']

it(`A file has at most ${MAX_LINES} lines, but one`, () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.[cm]?[jt]s$/.test(path) && !path.includes('node_modules'))
      .map((path) => `${folder}/${path}`),
  )
  expect(files.length).toBeGreaterThan(100)
  const long = files
    .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ file, lines }) => lines > (LONGER[file] ?? MAX_LINES))
  expect(long).toEqual([])
})
