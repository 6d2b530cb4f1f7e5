import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'
import { build as bundle } from 'esbuild'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import ts from 'typescript'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { PagePrograms, programsOf } from '../docs/page-program.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { build } from './build.ts'
import {
  compilerOptions,
  ENTRIES,
  formatDiagnostics,
  ownProgram,
  root,
  run,
  TSC,
  typeErrors,
  typeExports,
} from './support.ts'

/** The packages that the consumer has besides this one, copied from this checkout. */
const PEERS = [
  'express',
  'fastify',
  'koa',
  'hono',
  'h3',
  'rou3',
  'srvx',
  '@nestjs',
  'rxjs',
  'prom-client',
  '@opentelemetry',
  'redis',
  '@redis',
  '@nats-io',
  '@koa/router',
  '@types/express',
  '@types/koa',
  '@types/node',
]

const NODENEXT = { module: 'nodenext', moduleResolution: 'nodenext' }
const BUNDLER = { module: 'esnext', moduleResolution: 'bundler' }
const STRICT = { strict: true, target: 'es2022', lib: ['es2023'], types: ['node'], esModuleInterop: true }
const MORE_THAN_STRICT = {
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
}

/** Its real path, which the compiler uses for its files. */
const temporary = realpathSync(mkdtempSync(join(tmpdir(), 'wshub-package-')))
const project = join(temporary, 'project')
const installed = join(project, 'node_modules/wshub')
let tarball: string
let checks = 0

/** `prepack` would repeat the build of `npm test`. */
beforeAll(async () => {
  await build()
  const pack = ['pack', '--ignore-scripts', '--pack-destination', temporary]
  await run('npm', pack, { cwd: root })
  const [packed] = readdirSync(temporary).filter((name) => name.endsWith('.tgz'))
  if (packed === undefined) throw new Error(`npm pack has left no tarball in ${temporary}`)
  tarball = join(temporary, packed)

  cpSync(join(root, 'test/package/consumer'), project, { recursive: true })
  cpSync(join(project, 'frameworks.mts'), join(project, 'frameworks.cts'))
  writeFileSync(join(project, 'package.json'), '{ "private": true }\n')
  const flags = ['--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...flags, tarball], { cwd: project })
  for (const name of PEERS) {
    const link = join(project, 'node_modules', name)
    if (existsSync(link)) continue // it was installed as a dependency
    mkdirSync(join(link, '..'), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), link, 'junction')
  }
})

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true })
})

describe('the package', () => {
  it('contains the builds of each entry and the documents, and nothing else', () => {
    const builds = Object.keys(ENTRIES)
      .map((entry) => entry.replace(/^wshub\/?/, '') || 'index')
      .flatMap((name) => ['js', 'cjs'].map((end) => `dist/${name}.${end}`))
    const others = installedFiles().filter((name) => !name.startsWith('dist/types/'))
    const ofBun = 'dist/bun.js' // the core, for Bun alone
    const documents = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']
    expect(others).toEqual([...builds, ofBun, ...documents].sort())
  })

  it('has the licence of ws where it contains ws', () => {
    const licence = readFileSync(join(root, 'node_modules/ws/LICENSE'), 'utf8')
    expect(readFileSync(join(installed, 'dist/bun.js'), 'utf8')).toContain(licence.trim())
  })

  it.each([
    ['import', '.d.ts'],
    ['require', '.d.cts'],
  ])('contains the declarations that its entries need on %s, and no others', (condition, extension) => {
    const { options } = ts.convertCompilerOptionsFromJson(NODENEXT, project)
    const reached = ownProgram(declarationsOf(condition), options)
      .getSourceFiles()
      .map(({ fileName }) => relative(installed, fileName).replaceAll(sep, '/'))
      .filter((name) => !name.startsWith('..') && !name.startsWith('node_modules/'))
    const held = installedFiles().filter((name) => name.startsWith('dist/types/') && name.endsWith(extension))
    expect(reached.sort()).toEqual(held)
  })

  it('is built whenever it is packed', () => {
    expect(manifest().scripts.prepack).toMatch(/^npm run build\b/)
  })

  it('installs ws, proxy-addr and fastify-plugin, and no framework unless the application has it', () => {
    const { dependencies, peerDependencies, peerDependenciesMeta, devDependencies } = manifest()
    const optional = { optional: true }
    expect(Object.keys(dependencies ?? {}).filter((name) => !name.startsWith('@types/'))).toEqual([
      'fastify-plugin',
      'proxy-addr',
      'ws',
    ])
    const peers = [
      '@nats-io/transport-node',
      '@nestjs/common',
      '@nestjs/core',
      '@nestjs/websockets',
      '@opentelemetry/api',
      'express',
      'fastify',
      'h3',
      'hono',
      'koa',
      'prom-client',
      'redis',
      'rxjs',
    ]
    expect(Object.keys(peerDependencies ?? {}).sort()).toEqual(peers)
    expect(peerDependenciesMeta).toEqual(Object.fromEntries(peers.map((name) => [name, optional])))
    // The suite shows that it works with the versions tested here, so the ranges must include them.
    for (const [name, range] of Object.entries(peerDependencies ?? {})) {
      expect(`${range} `).toContain(`${/\d+/.exec(devDependencies?.[name] ?? '')?.[0]}.`)
    }
  })

  it.each(['esm.mjs', 'commonjs.cjs'])('runs: %s', async (script) => {
    const output = await run(process.execPath, [script], { cwd: project })
    const { answers, names } = JSON.parse(output)
    expect(answers).toEqual({
      http: 'hello, http',
      express: 'hello, express',
      koa: 'hello, koa',
      fastify: 'hello, fastify',
    })
    for (const [entry, file] of Object.entries(ENTRIES)) {
      expect(names[entry], entry).toEqual(Object.keys(await import(/* @vite-ignore */ root + file)).sort())
    }
  })

  it('exports the types of its sources', () => {
    const sources = typeExports(
      Object.values(ENTRIES).map((file) => root + file),
      compilerOptions(),
    )
    const declarations = ['import', 'require'].flatMap(declarationsOf)
    const { options } = ts.convertCompilerOptionsFromJson(NODENEXT, project)
    expect(typeExports(declarations, options)).toEqual([...sources, ...sources])
  })
})

describe('the types of the package', () => {
  // The core is checked by itself: the frameworks could declare globally what it lacks.
  it.each([
    ['nodenext, ES module', ['frameworks.mts', 'backplanes.mts', 'observing.mts', 'nest.mts'], NODENEXT],
    ['nodenext, CommonJS', ['frameworks.cts'], NODENEXT],
    ['nodenext, both in one program', ['frameworks.mts', 'frameworks.cts'], NODENEXT],
    ['nodenext, no framework', ['core.mts'], NODENEXT],
    ['bundler, no framework', ['core.mts'], BUNDLER],
    [
      'bundler, more than strict',
      ['frameworks.mts', 'backplanes.mts', 'observing.mts', 'nest.mts'],
      { ...BUNDLER, ...MORE_THAN_STRICT },
    ],
  ])('check with %s', async (_name, files, options) => {
    expect(await check(files, options)).toBe('')
  })

  it('check with TypeScript 5.9', () => {
    expect(checkBefore7(['frameworks.mts', 'frameworks.cts', 'backplanes.mts'], NODENEXT)).toBe('')
  })
})

describe('a bundle for a page', () => {
  it('has the close codes, and nothing else of the package or of Node', async () => {
    const { outputFiles, metafile } = await bundle({
      stdin: {
        contents: "import { CloseCode } from 'wshub/protocol'; alert(CloseCode)",
        resolveDir: project,
      },
      bundle: true,
      platform: 'browser',
      format: 'esm',
      write: false,
      metafile: true,
      absWorkingDir: project,
    })
    expect(Object.keys(metafile.inputs)).toEqual(['node_modules/wshub/dist/protocol.js', '<stdin>'])
    expect(outputFiles[0]?.text).toContain('policyViolation: 1008')
  })
})

describe('docs/getting-started.md', () => {
  const page = programsOf('docs/getting-started.md')
  const [imports, body] = splitImports(page.get('chat.mjs'))
  const requires = page.get('chat.cjs') ?? ''
  const commands = [
    ...readFileSync(join(root, 'docs/getting-started.md'), 'utf8').matchAll(/^ *(?:npx|node) .*$/gm),
  ].map(([line]) => line.trim())
  const initialised = join(temporary, 'initialised')
  let programs: PagePrograms

  // Once, since npm takes 0.4 s of computing for it.
  beforeAll(async () => {
    mkdirSync(initialised)
    await run('npm', ['init', '--yes'], { cwd: initialised })
  })

  afterEach(async () => {
    await programs.stopAll()
    programs.remove()
  })

  it.each([
    ['Express, ES module', 'chat.mjs', [['chat.mjs', imports + body]]],
    ['Express, CommonJS', 'chat.cjs', [['chat.cjs', requires + body]]],
    ['Express, TypeScript, ES module', 'chat.mts', [['chat.mts', imports + body]]],
    ['Express, TypeScript, CommonJS', 'chat.cts', [['chat.cts', imports + body]]],
    ['Fastify', 'fastify.mts', [...page]],
    ['Koa', 'koa.mts', [...page]],
    ['node:http', 'http.mts', [...page]],
  ] as const)('has a chat that works as it stands, with its commands: %s', async (_name, file, files) => {
    programs = await PagePrograms.ofPackage(new Map(files), project)
    const { folder } = programs
    cpSync(join(initialised, 'package.json'), join(folder, 'package.json'))
    if (file.endsWith('ts')) {
      // The page gives the command for chat.mts, and names chat.cts as another file.
      const named = file.replace('chat.cts', 'chat.mts')
      const [, args = ''] =
        commands
          .map((line) => /^npx tsc (.*)$/.exec(line))
          .find((found) => found?.[1]?.endsWith(` ${named}`)) ?? []
      const flags = [...args.replace(named, file).split(' '), '--singleThreaded']
      await run(process.execPath, [TSC, ...flags], { cwd: folder })
      expect(commands).toContain(`node ${named.replace(/ts$/, 'js')}`)
    }
    const url = await programs.run(file.replace(/ts$/, 'js')).line()
    if (file.startsWith('chat')) {
      expect(await (await fetch(url)).text()).toContain("new WebSocket('/ws')")
    }
    const ada = new WebSocket(`${url.replace('http', 'ws')}/ws`)
    const bob = new WebSocket(ada.url)
    await Promise.all([once(ada, 'open'), once(bob, 'open')])
    const signal = AbortSignal.timeout(WAIT_MS)
    const messages = [ada, bob].map((client) => once(client, 'message', { signal }))
    ada.send('hello')
    expect((await Promise.all(messages)).map(([data]) => String(data))).toEqual(['hello', 'hello'])
    for (const client of [ada, bob]) client.terminate()
  })
})

describe('nothing is found', () => {
  it('publint reports no problem', async () => {
    const bytes = new Uint8Array(readFileSync(tarball))
    const { messages, pkg } = await publint({
      pack: { tarball: bytes.buffer },
      level: 'suggestion',
      strict: true,
    })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
  })

  it('@arethetypeswrong/cli reports no problem', async () => {
    const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    const flags = ['--no-emoji', '--no-color', '--format', 'table']
    // It fails with the table of what it found.
    const output = await run(process.execPath, [attw, tarball, ...flags], {
      cwd: temporary,
    })
    expect(output).toContain('No problems found')
  })
})

/**
 * Returns the errors that a strict project without `skipLibCheck` gets for files of the consumer and the
 * declarations it installed. Errors in the declarations of the frameworks are left out: some contradict each
 * other, whoever uses them.
 */
async function check(files: readonly string[], options: object): Promise<string> {
  const file = join(project, `tsconfig.${checks++}.json`)
  writeFileSync(file, JSON.stringify({ compilerOptions: { ...STRICT, ...options }, files }))
  const output = await typeErrors(['-p', file], project)
  const isOfAnother = /^\.\.\//
  let isLeftOut = false
  const left = output.split('\n').filter((line) => {
    if (/^\S/.test(line)) isLeftOut = isOfAnother.test(line)
    return !isLeftOut // the lines below an error that tell more are indented
  })
  return left.join('\n')
}

/** Returns the same of the compiler before 7. */
function checkBefore7(files: readonly string[], options: object): string {
  const parsed = ts.convertCompilerOptionsFromJson({ ...STRICT, ...options, noEmit: true }, project)
  const paths = files.map((file) => join(project, file))
  // The folder with the packages of `types`; the working directory of the suite is another project.
  const host = { ...ts.createCompilerHost(parsed.options), getCurrentDirectory: () => project }
  const program = ts.createProgram(paths, parsed.options, host)
  const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(project))
  expect(ours.map(({ fileName }) => fileName)).toEqual(expect.arrayContaining(paths))
  return formatDiagnostics([
    ...parsed.errors,
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...ours.flatMap((source) => [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ]),
  ])
}

/** The files of the package, with `/` between folders, sorted. */
function installedFiles(): string[] {
  return readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(installed, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort()
}

/** The declarations of each entry, for `import` and for `require`. */
function declarationsOf(condition: string): string[] {
  return Object.keys(ENTRIES).map((entry) => {
    const { types } = manifest().exports[entry.replace(/^wshub/, '.')]?.[condition] ?? {}
    return join(installed, types ?? `nothing for types to ${condition}`)
  })
}

/** The lines of a program that import something, and all other lines. */
function splitImports(program = ''): [string, string] {
  const lines = program.split('\n')
  const isImport = (line: string) => line.startsWith('import ')
  const join = (kept: readonly string[]) => `${kept.join('\n')}\n`
  return [join(lines.filter(isImport)), join(lines.filter((line) => !isImport(line)))]
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: unknown
  readonly scripts: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, Readonly<Record<string, { readonly types?: string }>>>>
}

function manifest(): Manifest {
  return JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
}
