import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { root, run } from './support.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wshub-release-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const start = (file: string, ...args: string[]) => run(file, args, { cwd: folder })
const read = (file: string) => readFileSync(join(folder, file), 'utf8')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

describe('npm run release', () => {
  beforeEach(async () => {
    // The tests that npm would run before a version are these.
    const { preversion: _, ...scripts } = manifest.scripts
    write('package.json', JSON.stringify({ name: 'released', version: '0.1.0', scripts }))
    write('CHANGELOG.md', '# Changelog\n\n## Unreleased\n\n- A change.\n\n## 0.1.0\n\nThe first release.\n')
    mkdirSync(join(folder, 'scripts'))
    cpSync(join(root, 'scripts/release.mjs'), join(folder, 'scripts/release.mjs'))
    await start('git', 'init', '--quiet', '--initial-branch=main')
    await start('git', 'config', 'user.name', 'Ada')
    await start('git', 'config', 'user.email', 'ada@example.com')
    await start('git', 'add', '.')
    await start('git', 'commit', '--quiet', '--message', 'first')
  })

  it('sets the version, dates the changelog, commits and tags both', async () => {
    await start('npm', 'run', 'release', '--', 'minor')
    expect(JSON.parse(read('package.json')).version).toBe('0.2.0')
    expect(read('CHANGELOG.md')).toMatch(
      /^# Changelog\n\n## Unreleased\n\n## 0\.2\.0 \(\d{4}-\d\d-\d\d\)\n\n- A change\.\n\n## 0\.1\.0\n/,
    )
    expect(await start('git', 'status', '--porcelain')).toBe('')
    expect(await start('git', 'log', '-1', '--format=%s')).toBe('release: 0.2.0\n')
    expect(await start('git', 'tag', '--points-at', 'HEAD')).toBe('v0.2.0\n')
  })

  it('refuses a changelog without changes', async () => {
    write('CHANGELOG.md', '# Changelog\n\n## Unreleased\n\n## 0.1.0\n\nThe first release.\n')
    await start('git', 'commit', '--quiet', '--all', '--message', 'nothing')
    await expect(start('npm', 'run', 'release', '--', 'minor')).rejects.toThrow(
      'nothing under "## Unreleased"',
    )
    expect(await start('git', 'tag')).toBe('')
  })

  it('refuses an address that is a placeholder', async () => {
    write(
      'package.json',
      JSON.stringify({ ...JSON.parse(read('package.json')), homepage: manifest.homepage }),
    )
    await start('git', 'commit', '--quiet', '--all', '--message', 'placeholder')
    const released = start('npm', 'run', 'release', '--', 'minor')
    if (manifest.homepage.includes('OWNER')) await expect(released).rejects.toThrow('OWNER')
    else await released
  })
})

describe('the README that npm shows', () => {
  const script = join(root, 'scripts/npm-readme.mjs')
  const readme = [
    '[Rooms](docs/rooms.md#limits) ![chart](docs/bench.svg) [security](SECURITY.md)',
    '[below](#below) [RFC](https://example.com/rfc) `[a](b)`',
  ].join('\n')

  beforeEach(() => {
    const homepage = 'https://example.com/wshub/'
    const repository = { url: 'git+https://github.com/example/wshub.git' }
    write('package.json', JSON.stringify({ version: '1.2.3', homepage, repository }))
    write('README.md', readme)
  })

  it('has absolute links: to the site, or to the files of its version', async () => {
    await start(process.execPath, script)
    const files = 'https://github.com/example/wshub'
    expect(read('README.md').split('\n')[0]).toBe(
      `[Rooms](https://example.com/wshub/rooms#limits) ![chart](${files}/raw/v1.2.3/docs/bench.svg) [security](${files}/blob/v1.2.3/SECURITY.md)`,
    )
    expect(read('README.md')).toContain('[below](#below) [RFC](https://example.com/rfc)')
  })

  it('has no other link than absolute ones and those to its own headings', async () => {
    for (const file of ['package.json', 'README.md']) cpSync(join(root, file), join(folder, file))
    await start(process.execPath, script)
    const prose = read('README.md').replace(/^```.*?^```$/gms, '')
    const links = [...prose.matchAll(/\]\(\s*([^\s)]+)|^\[[^\]]+\]:\s*(\S+)|\b(?:src|href)="([^"]+)"/gm)].map(
      ([, ...found]) => found.find((link) => link !== undefined) ?? '',
    )
    expect(links.length).toBeGreaterThan(30)
    expect(links.filter((link) => !/^(https:|#)/.test(link))).toEqual([])
    const pages = links.filter((link) => link.startsWith(manifest.homepage))
    expect(pages.filter((link) => /\.md\b/.test(link))).toEqual([])
    expect(links.filter((link) => link.includes('/blob/') && link.includes('/docs/'))).toEqual([])
  })

  it('is restored once the package is packed', async () => {
    await start(process.execPath, script)
    await start(process.execPath, script) // an earlier run was interrupted
    await start(process.execPath, script, 'restore')
    expect(read('README.md')).toBe(readme)
  })

  it('is written when npm packs', () => {
    expect(manifest.scripts.prepack).toContain('node scripts/npm-readme.mjs')
    expect(manifest.scripts.postpack).toBe('node scripts/npm-readme.mjs restore')
  })
})

describe('the workflows', () => {
  const workflow = (name: string) => readFileSync(join(root, '.github/workflows', name), 'utf8')

  it('test on the versions of Node that `npm run test:nodes` tests', () => {
    const script = readFileSync(join(root, 'scripts/test-nodes.mjs'), 'utf8')
    const majors = (text: string, list: RegExp) => list.exec(text)?.[1]?.match(/\d+/g)
    expect(majors(workflow('ci.yml'), /node: \[(.*)\]/)).toEqual(majors(script, /MAJORS = \[(.*)\]/))
  })

  it('name the repository of package.json, and so do the issue templates', () => {
    const url = manifest.repository.url.replace(/^git\+|\.git$/g, '')
    expect(manifest.bugs).toBe(`${url}/issues`)
    expect(workflow('../ISSUE_TEMPLATE/config.yml')).toContain(`url: ${url}/security/advisories/new`)
  })

  it('publish with provenance', () => {
    expect(workflow('release.yml')).toContain('npm publish --provenance')
    expect(workflow('release.yml')).toContain('id-token: write')
  })
})

function write(file: string, text: string): void {
  writeFileSync(join(folder, file), text)
}
