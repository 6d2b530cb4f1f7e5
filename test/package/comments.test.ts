import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from './support.ts'

const MAX_COLUMNS = 110
const FOLDERS = ['src', 'adapters', 'client', 'testing', 'test', 'examples', 'bench', 'scripts']

/** Returns the places of the lines of all sources that match. */
function linesThat(match: (line: string) => boolean): string[] {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.[cm]?[jt]s$/.test(path) && !path.includes('node_modules'))
      .map((path) => `${folder}/${path}`),
  )
  expect(files.length).toBeGreaterThan(100)
  return files.flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .flatMap((line, index) => (match(line) ? [`${file}:${index + 1}`] : [])),
  )
}

it('Comment lines have at most 110 columns', () => {
  const isLong = (line: string) => /^\s*(\/\/|\/\*\*|\*)/.test(line) && line.length > MAX_COLUMNS
  expect(linesThat(isLong)).toEqual([])
})

it('Docstrings begin with a verb or a noun', () => {
  expect(linesThat((line) => /^\s*\/\*\* (What|Those|That)\b/.test(line))).toEqual([])
})
