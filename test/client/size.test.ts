import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { bundleForPage } from './bundle.ts'

const MAX_BYTES = 3 * 1_024

describe('The client in a bundle', () => {
  it('has at most 3 KB, minified and compressed', async () => {
    const { text, inputs } = await bundleForPage("export * from './client.ts'")
    const files = readdirSync(new URL('../../client', import.meta.url)).filter((name) => name.endsWith('.ts'))
    expect(inputs.filter((name) => name !== '<stdin>').every((name) => files.includes(name))).toBe(true)
    expect(text).toContain('visibilitychange')
    expect(gzipSync(text, { level: 9 }).length).toBeLessThanOrEqual(MAX_BYTES)
  })

  it('is as large as the documentation says', async () => {
    const { text } = await bundleForPage("export * from './client.ts'")
    const size = `${(gzipSync(text, { level: 9 }).length / 1_000).toFixed(1)} KB`
    const told = ['README.md', 'docs/client.md'].flatMap((file) => {
      const page = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
      return [...page.matchAll(/[\d.]+ KB(?=[.,]| +\|$)/gm)].map(([found]) => found)
    })
    expect(told).toEqual([size, size, size])
  })

  it('has no side effects: a page that imports it without using it gets none of it', async () => {
    const { text } = await bundleForPage("import { connect } from './client.ts'")
    expect(text).toBe('')
  })
})
