import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ENTRIES, root, run } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'wshub-site-'))
const html = (page: string) => readFileSync(join(folder, `${page}.html`), 'utf8')
const pages = ['', 'hosts/']
  .flatMap((path) => readdirSync(join(root, 'docs', path)).map((name) => path + name))
  .filter((name) => name.endsWith('.md') && name !== 'index.md')
  .map((name) => name.replace(/(\/index)?\.md$/, ''))

/** Ten times the time, in ms, that the site takes on quiet cores. */
const SITE_MS = 600_000

// The build fails on a broken link, in a page or in a docstring.
beforeAll(async () => {
  await run(process.execPath, ['scripts/docs.mjs', '--out', folder], { cwd: root, withinMs: SITE_MS })
}, SITE_MS)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the site', () => {
  it('has every page of docs in its sidebar', () => {
    const sidebar = html('scaling')
    expect(pages.filter((page) => !new RegExp(`href="[^"]*/${page}/?"`).test(sidebar))).toEqual([])
  })

  it('has an API reference of every entry', () => {
    for (const entry of Object.keys(ENTRIES)) expect(html(`api/${entry}/index`), entry).toContain('<h1')
    expect(html('api/wshub/interfaces/HubOptions')).toContain('maxConnections')
    expect(html('api/wshub/classes/Hub')).toContain('<title>Class: Hub&lt;Meta&gt; | wshub</title>')
    expect(html('api/wshub/express/functions/wsHub')).toContain('upgradeWebSocket')
  })

  it('does not build with a broken link', () => {
    // VitePress fails by itself, unless it is configured to ignore such links.
    const config = readFileSync(join(root, 'docs/.vitepress/config.mts'), 'utf8')
    expect(config).not.toMatch(/ignoreDeadLinks/)
  })

  it('can be searched without a server', () => {
    const [index] = readdirSync(join(folder, 'assets/chunks')).filter((name) =>
      name.startsWith('@localSearchIndex'),
    )
    expect(readFileSync(join(folder, 'assets/chunks', index ?? 'no index'), 'utf8')).toContain('nginx')
  })

  it('links to the repository for files outside docs', () => {
    expect(html('cluster')).toMatch(/href="https:\/\/github\.com\/[^"]+\/examples\/cluster\.ts"/)
  })
})
