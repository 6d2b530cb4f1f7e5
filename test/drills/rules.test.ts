import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readRules } from '../../bench/drills/alarms.ts'
import { DRILLS } from '../../bench/drills/drills.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const page = read('docs/operating.md')
const headings = [...page.matchAll(/^### (.+)$/gm)].map(([, heading]) => heading)
// The file is of the project.
const { homepage } = JSON.parse(read('package.json')) as { homepage: string }

describe('The page about operating', () => {
  it('has a section for each alert rule, in their order, and then one for each drill', () => {
    expect(headings).toEqual([...readRules().map(({ alert }) => alert), ...Object.keys(DRILLS)])
  })

  it.each(readRules())('is where the runbook of $alert leads', ({ alert, annotations }) => {
    expect(annotations.runbook_url).toBe(`${homepage}operating#${alert.toLowerCase()}`)
  })

  it.each(Object.entries(DRILLS))('shows the picture of %s, and links it from its alarms', (name, drill) => {
    expect(page).toContain(`](drills/${name}.svg)`)
    expect(read(`docs/drills/${name}.svg`)).toContain(drill.title)
    const sections = page.split(/^### /m)
    const linked = sections.filter((section) => section.includes(`(#${name})`))
    for (const section of linked) expect(drill.alarms).toContain(section.split('\n')[0])
    expect(linked.length).toBeGreaterThan(0)
  })
})
