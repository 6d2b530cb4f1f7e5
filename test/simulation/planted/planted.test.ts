import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../../package/support.ts'
import { BUGS, plant } from './bugs.ts'

// `npm run simulate:planted` plants them, and looks how many seeds it takes to find each.
describe('The bugs that the simulation has to find', () => {
  it('are 25 or more, each with a name of its own', () => {
    expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length)
    expect(BUGS.length).toBeGreaterThanOrEqual(25)
  })

  it.each(BUGS)('change one place of the source: $name', (bug) => {
    const source = readFileSync(join(root, bug.file), 'utf8')
    expect(plant(bug, source)).not.toBe(source)
  })
})
