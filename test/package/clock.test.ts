import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from './support.ts'

/**
 * Expressions that read or compare a time of day. A duration is measured with `performance.now()`, because
 * the clock of a machine may be set.
 */
const TIME_OF_DAY = [
  'credential.ts',
  'followers.ts',
  'jetstream-history.ts',
  'keepalive.ts',
  'receiver.ts',
  'recent-events.ts',
  'room-member.ts',
  'sender.ts',
  'upgrade-spans.ts',
]

it('The clock of the machine is read for times of day, and never for durations', () => {
  const readers = ['src', 'adapters', 'client', 'testing'].flatMap((folder) => {
    const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    return entries
      .filter(({ name }) => name.endsWith('.ts'))
      .filter(({ name, parentPath }) =>
        /\bDate\.now\(|\bnew Date\(\)/.test(readFileSync(join(parentPath, name), 'utf8')),
      )
      .map(({ name }) => name)
  })
  expect(readers.sort()).toEqual(TIME_OF_DAY)
})
