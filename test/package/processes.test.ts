import { expect, it } from 'vitest'
import { testFiles } from '../support/processes.ts'

it('A test shares its process with others unless it, or what it imports, starts programs', () => {
  const { shared, own } = testFiles()
  for (const file of [
    'test/client/chromium.test.ts',
    'test/client/firefox.test.ts',
    'test/client/continuity.test.ts',
    'test/client/types.test.ts',
    'test/cluster/room-churn.test.ts',
  ])
    expect(own).toContain(file)
  // It imports `execFileSync` alone, which is over when it returns.
  expect(shared).toContain('test/adapters/refusal.test.ts')
  expect(shared.length).toBeGreaterThan(100)
})
