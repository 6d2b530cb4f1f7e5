import { describe, expect, it } from 'vitest'
import { instruments } from 'wshub'
import { HUB_ERRORS } from '../../src/base/errors.ts'
import { CLOSE_CAUSES, CLOSE_REASONS } from '../../src/connection/close-cause.ts'
import { HISTOGRAM_BOUNDS, type HistogramName } from '../../src/hub/distributions.ts'
import { read, tableOf, unquote } from './documents.ts'

describe('the table of instruments', () => {
  const page = read('docs/metrics.md')

  it('has a row for each, in their order, with kind, unit, labels and meaning', () => {
    const shown = instruments.map(({ name, kind, unit, description, series: [labels = {}] }) => [
      `\`${name}\``,
      kind,
      `\`${unit}\``,
      Object.keys(labels)
        .map((label) => `\`${label}\``)
        .join(', '),
      description,
    ])
    expect(tableOf('instrument', 'kind', 'unit', 'labels')).toEqual(shown)
  })

  it('has a text that says how many there are', () => {
    expect(page).toContain(`A hub has ${instruments.length} instruments`)
  })

  it('is followed by all values of the labels, or by a link to the page that has them', () => {
    const linked = [
      ...CLOSE_REASONS,
      ...Object.keys(HUB_ERRORS),
      ...CLOSE_CAUSES.map(({ by }) => by),
    ] as readonly string[]
    const values = instruments.flatMap(({ series }) => series.flatMap((labels) => Object.values(labels)))
    expect(values.filter((value) => !linked.includes(value) && !page.includes(`\`${value}\``))).toEqual([])
  })

  it('is followed by the bounds of the buckets, and why they are these', () => {
    const rows = tableOf('histogram', 'upper bounds', 'why')
    const names = Object.keys(HISTOGRAM_BOUNDS) as HistogramName[] // Object.keys forgets the names
    expect(rows.map(([name]) => unquote(name))).toEqual(names)
    rows.forEach(([, bounds = '', why], index) => {
      const shown = bounds.replace(/ s$/, '').split(', ')
      const name = names[index] ?? 'pingDuration'
      expect(shown.map((bound) => Number(bound.replace(/ /g, '')))).toEqual(HISTOGRAM_BOUNDS[name])
      expect(why).toMatch(/\w/)
    })
  })
})
