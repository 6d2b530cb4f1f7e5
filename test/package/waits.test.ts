import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from './support.ts'

/** Time limits that a test sets itself. */
const LIMITS = [
  { what: 'of a test or a hook', pattern: /^\s*\}, \d{2,3}_000\)|^ {4}[\d_]+,\n {2}\)/m },
  { what: 'of a suite', pattern: /\b(describe|it|test)\([^\n]*\{ timeout: / },
  { what: 'of a wait', pattern: /\bend = (Date|performance)\.now\(\) \+ [\d_]{5,}$/m },
  { what: 'of a signal', pattern: /AbortSignal\.timeout\([\d_]{6,}\)/ },
  {
    what: 'as a constant',
    pattern: /^const (?!WAIT_MS|TEST_MS)[A-Z_]*(TIMEOUT|TEST|SET_UP|START|READY|END|BUILD)_MS = /m,
  },
]

describe('Tests', () => {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )

  it.each(LIMITS)('have no limit $what except those in support/in-time.ts', ({ pattern }) => {
    expect(files.length).toBeGreaterThan(100)
    const own = files.filter((name) => pattern.test(readFileSync(join(root, 'test', name), 'utf8')))
    expect(own).toEqual([])
  })
})
