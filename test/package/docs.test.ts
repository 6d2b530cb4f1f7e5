import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { HUB_ERRORS, type HubErrorCode } from '../../src/base/errors.ts'
import { CLUSTER_DEFAULTS } from '../../src/cluster/cluster-options.ts'
import { CLOSE_CAUSES, CLOSE_REASONS } from '../../src/connection/close-cause.ts'
import { COMPRESSION_DEFAULTS } from '../../src/delivery/delivery-options.ts'
import { HISTORY_DEFAULTS } from '../../src/history/history-options.ts'
import { memoryHistory } from '../../src/history/memory-history.ts'
import { HUB_DEFAULTS, type HubOptions, resolveHubOptions } from '../../src/hub/hub-options.ts'
import { LIMIT_DEFAULTS } from '../../src/hub/limit-options.ts'
import { PRESENCE_DEFAULTS } from '../../src/presence/presence-options.ts'
import { documents, read, tableOf, unquote } from './documents.ts'
import { root, typeErrorsIn } from './support.ts'

/**
 * The tables of options in the documents, the interface of each table, and the way to pass its keys to a hub.
 */
const TABLES: readonly {
  readonly name: string
  readonly headings: readonly string[]
  readonly file: string
  readonly type: string
  readonly defaults: Readonly<Record<string, unknown>>
  readonly asOptions: (options: object) => HubOptions
}[] = [
  {
    name: 'options',
    headings: ['option', 'unit', 'default'],
    file: 'src/hub/hub-options.ts',
    type: 'HubOptions',
    defaults: HUB_DEFAULTS,
    asOptions: (options) => options,
  },
  {
    name: 'limits',
    headings: ['limit', 'unit', 'default'],
    file: 'src/hub/limit-options.ts',
    type: 'LimitOptions',
    defaults: LIMIT_DEFAULTS,
    asOptions: (limits) => ({ limits }),
  },
  {
    name: 'settings of compression',
    headings: ['setting', 'unit', 'default'],
    file: 'src/delivery/delivery-options.ts',
    type: 'CompressionOptions',
    defaults: COMPRESSION_DEFAULTS,
    asOptions: (enableCompression) => ({ enableCompression }),
  },
  {
    name: 'settings of a cluster',
    headings: ['`cluster`', 'unit', 'default'],
    file: 'src/cluster/cluster-options.ts',
    type: 'ClusterOptions',
    defaults: CLUSTER_DEFAULTS,
    asOptions: (cluster) => ({ cluster }),
  },
  {
    name: 'settings of histories',
    headings: ['`history`', 'unit', 'default'],
    file: 'src/history/history-options.ts',
    type: 'HistoryOptions',
    defaults: HISTORY_DEFAULTS,
    asOptions: (history) => ({ history: { store: memoryHistory(), rooms: () => ({}), ...history } }),
  },
  {
    name: 'settings of presence',
    headings: ['`presence`', 'unit', 'default'],
    file: 'src/presence/presence-options.ts',
    type: 'PresenceOptions',
    defaults: PRESENCE_DEFAULTS,
    asOptions: (presence) => ({ presence: { rooms: () => 'members', ...presence } }),
  },
]

const LANGUAGES = 'ts js html python sh json yaml dockerfile ini nginx haproxy caddyfile text'.split(' ')

const readme = read('README.md')
const codes = Object.keys(HUB_ERRORS) as HubErrorCode[] // Object.keys forgets the key type

describe.each(TABLES)('the table of $name', ({ headings, defaults, asOptions }) => {
  const keys = Object.keys(defaults)
  const rows = tableOf(...headings)
  const keyOf = ([option]: readonly string[]) => unquote(option)
  const rowOf = (key: string) => rows.find((row) => keyOf(row) === key) ?? []
  const isNumeric = (key: string) => typeof defaults[key] === 'number'

  it('has a row for each, in their order, and no other', () => {
    expect(rows.map(keyOf)).toEqual(keys)
  })

  it.each(keys)('shows the default of %s', (key) => {
    expect(shownValue(rowOf(key)[2])).toEqual(defaults[key])
  })

  it.each(keys)('explains %s', (key) => {
    expect(rowOf(key).at(-1)).toMatch(/\w/)
  })

  it.each(keys.filter((key) => /(Ms|Bytes)$/.test(key)))('shows the unit that %s ends in', (key) => {
    expect(rowOf(key)[1]).toBe(key.endsWith('Ms') ? 'ms' : 'bytes')
  })

  it.each(keys.filter(isNumeric))('says what 0 means for %s, or the least value', (key) => {
    expect(rowOf(key).at(-1)).toMatch(takes(asOptions({ [key]: 0 })) ? /(^|\W)0 = / : /(^|\W)at least [1-9]/)
  })

  it('says why a limit is off, and what [] means', () => {
    for (const key of keys) {
      const notes = rowOf(key).at(-1) ?? ''
      if (/(^|\W)0 = no limit/.test(notes) && defaults[key] === 0) expect(notes).toMatch(/because/)
      if (Array.isArray(defaults[key])) expect(notes).toMatch(/`\[\]` = /)
    }
  })
})

describe.each(TABLES)('the docstrings of $type', ({ file, type, defaults, asOptions }) => {
  const keys = Object.keys(defaults)
  const docstrings = docstringsOf(file, type)
  const docstringOf = (key: string) => docstrings.get(key) ?? ''
  const isNumeric = (key: string) => typeof defaults[key] === 'number'

  it('exist for each option, and the interface has no other', () => {
    expect([...docstrings.keys()]).toEqual(keys)
  })

  it.each(keys)('end with the default of %s', (key) => {
    const [, shown] = / Default (.+)\.$/.exec(docstringOf(key)) ?? []
    expect(shownValue(shown)).toEqual(defaults[key])
    if (shown === undefined) expect(docstringOf(key)).not.toMatch(/default/i)
  })

  it.each(keys.filter(isNumeric))('name the unit of %s, and what 0 means or the least value', (key) => {
    const text = docstringOf(key)
    expect(text).toMatch(takes(asOptions({ [key]: 0 })) ? /(^|\W)0 = / : /(^|\W)[1-9][0-9 ]* (or more|to )/)
    if (key.endsWith('Ms')) expect(text).toMatch(/(^|\W)in ms(\W|$)/)
    if (/Bytes$|Size$/.test(key)) expect(text).toMatch(/(^|\W)bytes(\W|$)/)
  })
})

describe.each([
  ['redisHistory', 'adapters/redis/redis-history.ts'],
  ['jetstreamHistory', 'adapters/nats/jetstream-options.ts'],
])('the table of %s', (name, file) => {
  const rows = tableOf(`\`${name.toLowerCase()}\``, 'unit', 'default')
  const options = [...read(file).matchAll(/ Default `?([^`.]+)`?\.\n? *(?:\*\/)?\n {2}(\w+)\?: /g)]

  it('shows the default of each option', () => {
    expect(options.length).toBeGreaterThan(3)
    const shown = rows.map(([option, , value]) => [unquote(option), shownValue(value)])
    for (const [, value, option] of options) expect(shown).toContainEqual([option, shownValue(value)])
  })
})

describe('the table of errors', () => {
  const rows = tableOf('code', 'status', 'when')

  it('has a row for each code, in their order, and no other', () => {
    expect(rows.map(([code]) => unquote(code))).toEqual(codes)
  })

  it.each(codes)('shows the close code or the HTTP status of %s', (code) => {
    const rule: { readonly status: number; readonly closeCode?: number } = HUB_ERRORS[code]
    const [, shown, when] = rows.find(([name]) => unquote(name) === code) ?? []
    expect(unquote(shown)).toBe(String(rule.closeCode ?? rule.status))
    expect(when).toMatch(/\w/)
  })
})

describe('the table of the reasons of a close', () => {
  const rows = tableOf('reason', 'by', 'when', 'code')

  it('has a row for each reason, in their order, and no other', () => {
    expect(rows.map(([reason]) => unquote(reason))).toEqual(CLOSE_REASONS)
  })

  it.each(CLOSE_REASONS)('says who ends a connection for the reason %s, and when', (name) => {
    const [, by = '', when] = rows.find(([reason]) => unquote(reason) === name) ?? []
    expect(by.split(', ')).toEqual(CLOSE_CAUSES.flatMap(({ by, reason }) => (reason === name ? [by] : [])))
    expect(when).toMatch(/\w/)
  })
})

describe('the error codes', () => {
  const mentions = (path: string) => new Set(read(path).match(/WSHUB_ERR_[A-Z_]*[A-Z]/g))
  const sources = ['src', 'adapters', 'client', 'testing'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  )

  it('exist if a source, a docstring or a document names them', () => {
    const unknown = [...sources, ...documents()].flatMap((path) =>
      [...mentions(path)]
        .filter((code) => !Object.hasOwn(HUB_ERRORS, code))
        .map((code) => `${path}: ${code}`),
    )
    expect(unknown).toEqual([])
  })

  it('are all used', () => {
    const used = new Set(
      sources.filter((path) => path !== 'src/base/errors.ts').flatMap((path) => [...mentions(path)]),
    )
    expect(codes.filter((code) => !used.has(code))).toEqual([])
  })
})

describe('the table of SECURITY.md', () => {
  const rows = read('SECURITY.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .slice(2) // the heading, and the line under it

  it('names for each attack the defence and the test that shows it', () => {
    expect(rows.length).toBeGreaterThan(20)
    for (const row of rows) expect(row).toEqual(Array(3).fill(expect.stringMatching(/\w/)))
  })

  it('names tests that exist: file and title', () => {
    const named = rows.flatMap(([, , cell = '']) => [
      ...cell.matchAll(/\[(?<title>[^\]]+)\]\((?<file>test\/[^)]+\.test\.ts)\)/g),
    ])
    expect(named.length).toBeGreaterThanOrEqual(rows.length)
    const missing = named.flatMap(({ groups: { title = '', file = '' } = {} }) =>
      existsSync(join(root, file)) && read(file).replaceAll("\\'", "'").includes(title)
        ? []
        : [`${file}: ${title}`],
    )
    expect(missing).toEqual([])
  })
})

describe('the code of the documents', () => {
  const blocks = documents().flatMap((path) =>
    [...read(path).matchAll(/^ *```(\w*)\n(.*?)^ *```$/gms)].map(([, language = '', text = '']) => ({
      path,
      language,
      text,
    })),
  )

  it('is marked with its language', () => {
    expect(blocks.filter(({ language }) => !LANGUAGES.includes(language))).toEqual([])
  })

  it('type-checks in a strict project', async () => {
    // A block that begins with `// chat.ts` or `.mts` can be imported under that name by others.
    const files = new Map(
      blocks
        .filter(({ language }) => language === 'ts')
        .map(({ path, text }, index) => {
          const [, name = `block-${index + 1}.ts`] = /^\/\/ ([\w-]+\.m?ts)\n/.exec(text) ?? []
          return [join(path, name), text]
        }),
    )
    expect(files.size).toBeGreaterThan(3)
    // An example need not use everything it declares.
    const options = { noUnusedLocals: false, noUnusedParameters: false, experimentalDecorators: true }
    expect(await typeErrorsIn(files, options)).toBe('')
  })

  it('calls npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json'))
    const called = [...readme.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)].map(
      ([, script, short]) => script ?? short,
    )
    expect(called).toContain('start')
    expect(called.filter((script) => !Object.hasOwn(scripts, script ?? ''))).toEqual([])
  })
})

describe('CONTRIBUTING.md', () => {
  it('lists every npm script except those that npm calls by itself', () => {
    const { scripts } = JSON.parse(read('package.json'))
    const listed = [...read('CONTRIBUTING.md').matchAll(/\bnpm (?:run )?([a-z][\w:-]*)/g)].map(
      ([, name]) => name,
    )
    const unlisted = Object.keys(scripts).filter(
      (name) => !/^(pre|post|version$)/.test(name) && !listed.includes(name),
    )
    expect(unlisted).toEqual([])
  })
})

describe('the README', () => {
  it('fits on one page', () => {
    expect(readme.split('\n').length).toBeLessThanOrEqual(180)
  })

  it('begins with the program of docs/getting-started.md, which another test runs', () => {
    const [program] = /^```js\n\/\/ chat\.mjs\n.*?^```$/ms.exec(read('docs/getting-started.md')) ?? []
    expect(readme).toContain(program)
  })
})

describe('the version', () => {
  it('has what is unreleased in the groups of the CHANGELOG', () => {
    const [, unreleased] = /^## Unreleased\n(.*?)^## /ms.exec(read('CHANGELOG.md')) ?? []
    const [before, ...groups] = (unreleased ?? '').split(/^### /m)
    expect(before?.trim()).toBe('')
    const names = groups.map((group) => group.slice(0, group.indexOf('\n')))
    expect(names).toEqual(['Added', 'Changed', 'Fixed', 'Security'].filter((name) => names.includes(name)))
  })

  it('is the newest of the CHANGELOG in package.json', () => {
    const [, newest] = /^## (?!Unreleased)\[?(.*?)\]?(?: .*)?$/m.exec(read('CHANGELOG.md')) ?? []
    expect(newest).toBe(JSON.parse(read('package.json')).version)
  })
})

describe.each(documents())('the links of %s', (path) => {
  const text = read(path)
  // Code is not Markdown: `[a](b)` in it is no link.
  const prose = text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, '')
  const links = [...prose.matchAll(/\]\(([^()\s]+)\)|\b(?:src|href)="([^"]+)"/g)].map(
    ([, link, attribute]) => link ?? attribute ?? '',
  )
  const relative = links.filter((link) => !/^[a-z]+:/.test(link))

  it('lead to files and headings that exist', () => {
    const broken = relative.filter((link) => {
      const [file = '', anchor] = decodeURI(link).split('#')
      const target = file === '' ? path : join(dirname(path), file)
      if (!existsSync(join(root, target))) return true
      return anchor !== undefined && !anchorsOf(read(target)).includes(anchor)
    })
    expect(broken).toEqual([])
  })
})

/** The value that a document shows: `10 000`, `false`, `[]`, `close`; `undefined` for a dash. */
function shownValue(shown: string | undefined): unknown {
  const text = unquote(shown).replace(/^'(.*)'$/, '$1')
  if (text === '' || text === '–') return undefined
  if (text === '[]') return []
  if (text === '{}') return {}
  if (text === 'true' || text === 'false') return text === 'true'
  // Thousands may be separated by a plain, a no-break or a narrow no-break space.
  if (/^\d{1,3}([ \u00a0\u202f]?\d{3})*$/.test(text)) return Number(text.replace(/\D/g, ''))
  return text
}

function takes(options: HubOptions): boolean {
  try {
    resolveHubOptions(options)
    return true
  } catch {
    return false
  }
}

/** The docstrings of an interface's members, on one line each. */
function docstringsOf(path: string, name: string): Map<string, string> {
  const source = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true)
  const found = source.statements.find(
    (statement) => ts.isInterfaceDeclaration(statement) && statement.name.text === name,
  )
  if (found === undefined || !ts.isInterfaceDeclaration(found))
    throw new Error(`${path} has no interface ${name}`)
  return new Map(
    found.members.map((member) => [
      member.name?.getText(source) ?? '',
      ts
        .getJSDocCommentsAndTags(member)
        .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '')
        .join(' ')
        .replace(/\s+/g, ' '),
    ]),
  )
}

/** The anchors that GitHub gives the headings of a document. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  )
}
