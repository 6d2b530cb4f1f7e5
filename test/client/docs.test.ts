import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CONNECT_DEFAULTS, resolveConnectOptions } from '../../client/connect-options.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const cellsOf = (line: string) => line.split('|').map((cell) => cell.trim())

describe('docs/client.md', () => {
  const rows = new Map(
    read('docs/client.md')
      .split('\n')
      .filter((line) => /^\| `\w+` /.test(line))
      .map(cellsOf)
      .map(([, name = '', unit = '', shown = '', notes = '']) => [
        name.replaceAll('`', ''),
        { unit, shown, notes },
      ]),
  )
  const members = [...read('client/connect-options.ts').matchAll(/^ {2}(\w+)\?:/gm)].map(
    ([, name = '']) => name,
  )

  it('has a row for each option, in their order', () => {
    expect([...rows.keys()].slice(1)).toEqual(members) // after the heading
  })

  it.each(Object.entries(CONNECT_DEFAULTS))(
    'tells the default of %s, its unit and what 0 means',
    (key, value) => {
      const row = rows.get(key)
      expect(row?.shown.replace(/\D/g, '')).toBe(String(value))
      if (/Ms$/.test(key)) expect(row?.unit).toBe('ms')
      const takesZero = () => resolveConnectOptions({ WebSocket: class {} as never, [key]: 0 })
      if (row?.notes.includes('0 = ')) expect(takesZero).not.toThrow()
      else expect(takesZero).toThrow()
    },
  )

  it.each(Object.entries(CONNECT_DEFAULTS))('is of one mind with the docstring of %s', (key, value) => {
    const [, shown] = new RegExp(`Default ([\\d ]+)\\. ?(?:\\*/|\\n +\\*/)\\n {2}${key}\\?:`).exec(
      read('client/connect-options.ts'),
    ) ?? ['']
    expect(shown?.replace(/\D/g, '')).toBe(String(value))
  })
})
