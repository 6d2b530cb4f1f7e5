import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from './support.ts'

const MAX_COLUMNS = 110
const FOLDERS = ['src', 'adapters', 'client', 'testing', 'test', 'examples', 'bench', 'scripts']

it('Comment lines have at most 110 columns', () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.[cm]?[jt]s$/.test(path) && !path.includes('node_modules'))
      .map((path) => `${folder}/${path}`),
  )
  expect(files.length).toBeGreaterThan(100)
  const long = files.flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .flatMap((line, index) =>
        /^\s*(\/\/|\/\*\*|\*)/.test(line) && line.length > MAX_COLUMNS ? [`${file}:${index + 1}`] : [],
      ),
  )
  expect(long).toEqual([])
})
