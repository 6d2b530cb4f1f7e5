import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, extname, join, relative, sep } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { root } from './support.ts'

/** The folders of `src/`, and for each the other folders it may import from. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  observe: ['hub', 'cluster', 'connection', 'delivery', 'backplane', 'base'],
  hub: [
    'upgrade',
    'cluster',
    'cluster/wire',
    'history',
    'presence',
    'connection',
    'delivery',
    'backplane',
    'protocol',
    'base',
  ],
  upgrade: ['connection', 'protocol', 'base'],
  cluster: ['cluster/wire', 'backplane', 'protocol', 'base'],
  'cluster/wire': ['protocol', 'base'],
  presence: ['cluster', 'cluster/wire', 'protocol', 'base'],
  history: ['cluster/wire', 'delivery', 'backplane', 'protocol', 'base'],
  connection: ['delivery', 'protocol', 'base'],
  delivery: ['protocol', 'base'],
  protocol: ['base'],
  backplane: ['base'],
  base: [],
}

/** The one circle, only of types: a connection knows its hub. */
const CIRCLE = 'connection/connection.ts -> hub/hub.ts'

/** The packages that the core uses, besides `node:*`. */
const FOUNDATIONS = ['ws', 'proxy-addr']

/**
 * The files and folders of `adapters/`, and what each may import besides `node:*` and its own folder:
 * `wshub`, its peers, and the folder that all backplanes share. Peers in brackets are imported only as types,
 * because they may be missing.
 */
const ADAPTERS: Readonly<Record<string, readonly string[]>> = {
  express: ['[ws-hub-options]', 'wshub'],
  fastify: ['[fastify]', 'fastify-plugin', 'wshub'],
  koa: ['[koa]', '[ws-hub-options]', 'wshub'],
  hono: ['[hono]', '[ws-hub-options]', 'fetch-headers', 'hono/http-exception', 'refusal', 'wshub'],
  h3: ['[ws-hub-options]', 'fetch-headers', 'h3', 'refusal', 'wshub'],
  'fetch-headers': ['wshub'],
  refusal: ['wshub'],
  'sync-result': ['wshub'],
  'ws-hub-options': ['wshub'],
  nest: [
    '@nestjs/common',
    '@nestjs/core',
    '@nestjs/websockets/constants.js',
    'arguments',
    'refusal',
    'rxjs',
    'sync-result',
    'wshub',
  ],
  redis: ['backplane', 'redis', 'wshub'],
  nats: ['@nats-io/transport-node', 'backplane', 'wshub'],
  'node-cluster': ['backplane', 'wshub'],
  backplane: ['arguments', 'wshub'],
  arguments: ['wshub'],
  observing: ['wshub'],
  prometheus: ['arguments', 'observing', 'prom-client', 'wshub'],
  opentelemetry: ['@opentelemetry/api', 'arguments', 'observing', 'wshub'],
  log: ['arguments', 'observing', 'wshub'],
  inspector: ['arguments', 'observing', 'refusal', 'sync-result', 'wshub'],
}

/**
 * The folders of `testing/`, and what their files may import besides `node:*` and `wshub`. They name no
 * framework.
 */
const TESTING: Readonly<Record<string, readonly string[]>> = {
  '.': ['client'],
  client: ['.', 'ws'],
  backplane: ['.'],
  presence: ['cluster', 'cluster/wire', 'protocol', 'base'],
  history: ['.'],
}

interface Import {
  readonly from: string
  readonly to: string
  readonly line: number
  readonly isTypeOnly: boolean
}

/** Returns the files that lie on a cycle, or between two cycles. */
function cyclic(edges: readonly { readonly from: string; readonly to: string }[]): string[] {
  const left = new Set(edges.flatMap(({ from, to }) => [from, to]))
  for (;;) {
    const open = edges.filter(({ from, to }) => left.has(from) && left.has(to))
    const free = [...left].filter(
      (name) => !open.some(({ from }) => from === name) || !open.some(({ to }) => to === name),
    )
    if (free.length === 0) return [...left]
    for (const name of free) left.delete(name)
  }
}

describe('the imports of src/', () => {
  const files = sources('src')
  const imports = files.flatMap(importsOf)
  const edges = imports
    .filter(({ to }) => to.startsWith('.'))
    .map(({ from, to, isTypeOnly }) => ({
      from: place(from),
      to: place(join(dirname(from), to)),
      isTypeOnly,
    }))
  const inside = edges.filter(({ from }) => from.includes('/')) // index.ts and protocol.ts are outside the folders

  it('are made in a known folder', () => {
    const rooms = new Set(files.map((file) => dirname(place(file))).filter((room) => room !== '.'))
    expect([...rooms].sort()).toEqual(Object.keys(ROOMS).sort())
  })

  it('name a file, with its extension', () => {
    const found = imports.filter(({ to }) => to.startsWith('.') && !/^\.[a-z./-]+\.ts$/.test(to))
    expect(found).toEqual([])
  })

  it('stay in their folder, or lead to one that it may use', () => {
    const against = inside.filter(({ from, to }) => {
      const room = dirname(from)
      return dirname(to) !== room && ROOMS[room]?.includes(dirname(to)) !== true
    })
    const named = unique(against.map(({ from, to }) => `${from} -> ${to}`))
    expect(named).toEqual([CIRCLE])
  })

  it('import the hub into connection/ only as a type', () => {
    expect(inside.filter((edge) => `${edge.from} -> ${edge.to}` === CIRCLE && !edge.isTypeOnly)).toEqual([])
  })

  it('have no cycle by value', () => {
    expect(cyclic(edges.filter(({ isTypeOnly }) => !isTypeOnly))).toEqual([])
  })

  it('have no cycle of types except that of a connection and its hub', () => {
    expect(cyclic(edges.filter(({ from, to }) => `${from} -> ${to}` !== CIRCLE))).toEqual([])
  })

  it('use only node:* and the packages of the core', () => {
    const foreign = imports.filter(
      ({ to }) => !to.startsWith('.') && !FOUNDATIONS.includes(to) && !isBuiltin(to),
    )
    expect(foreign).toEqual([])
  })
})

describe('the imports of adapters/', () => {
  const files = sources('adapters')
  const ownerOf = (path: string) => path.replace(/^adapters\//, '').replace(/(\.ts|\/.*)$/, '')

  it('belong to known adapters', () => {
    expect(unique(files.map(ownerOf))).toEqual(Object.keys(ADAPTERS).sort())
  })

  it.each(Object.entries(ADAPTERS))(
    'lead from %s to the core, its peers and its own parts',
    (owner, allowed) => {
      const imports = files.filter((file) => ownerOf(file) === owner).flatMap(importsOf)
      const outside = imports.flatMap(({ from, to, isTypeOnly }) => {
        const target = to.startsWith('.') ? ownerOf(join(dirname(from), to)) : to
        return target === owner && to.startsWith('.') ? [] : [{ target, isTypeOnly }]
      })
      const values = outside.filter(({ isTypeOnly }) => !isTypeOnly).map(({ target }) => target)
      const found = outside
        .map(({ target }) => (values.includes(target) || target === 'wshub' ? target : `[${target}]`))
        .filter((target) => !isBuiltin(target.replace(/[[\]]/g, '')))
      expect(unique(found)).toEqual([...allowed])
    },
  )
})

describe('the imports of testing/', () => {
  const imports = sources('testing').flatMap(importsOf)
  const folderOf = (path: string) => relative('testing', dirname(path)) || '.'

  it('lead to the folders and packages that each may use', () => {
    const against = imports.filter(({ from, to }) => {
      const target = to.startsWith('.') ? folderOf(join(dirname(from), to)) : to
      const isOwn = target === folderOf(from) || target === 'wshub' || isBuiltin(target)
      return !isOwn && TESTING[folderOf(from)]?.includes(target) !== true
    })
    expect(against).toEqual([])
  })

  it('use the core only as types', () => {
    expect(imports.filter(({ to, isTypeOnly }) => /^wshub/.test(to) && !isTypeOnly)).toEqual([])
  })
})

describe.each(['src', 'adapters', 'client', 'testing'])('the modules of %s/', (folder) => {
  it('have no variable that can be reassigned', () => {
    const found = sources(folder).flatMap((file) => {
      const source = parse(file)
      return source.statements
        .filter(ts.isVariableStatement)
        .filter(({ declarationList }) => (declarationList.flags & ts.NodeFlags.Const) === 0)
        .map((statement) => `${file}:${lineOf(source, statement)} ${statement.getText(source)}`)
    })
    expect(found).toEqual([])
  })

  it('are named in kebab-case', () => {
    expect(
      sources(folder).filter((file) => !/^([a-z]+(-[a-z]+)*\/)+[a-z][a-z0-9]*(-[a-z]+)*\.ts$/.test(file)),
    ).toEqual([])
  })
})

describe('the imports of client/', () => {
  it('are its own files alone: a page has neither Node nor the core', () => {
    const foreign = sources('client')
      .flatMap(importsOf)
      .filter(({ to }) => !/^\.\/[a-z-]+\.ts$/.test(to))
    expect(foreign).toEqual([])
  })

  it('have no cycle by value', () => {
    const edges = sources('client')
      .flatMap(importsOf)
      .filter(({ isTypeOnly }) => !isTypeOnly)
      .map(({ from, to }) => ({ from, to: join(dirname(from), to) }))
    const left = new Set(sources('client'))
    for (;;) {
      const free = [...left].filter((name) => !edges.some(({ from, to }) => from === name && left.has(to)))
      if (free.length === 0) break
      for (const name of free) left.delete(name)
    }
    expect([...left]).toEqual([])
  })
})

describe.each(['examples', 'bench'])('the imports of %s/', (folder) => {
  const entries = publicEntries()
  const imports = sources(folder).flatMap(importsOf)

  it('exist', () => {
    expect(imports.filter(({ to }) => to.startsWith('wshub'))).not.toEqual([])
  })

  it('use only public entry points', () => {
    const core = imports.filter(({ to }) => to === 'wshub' || to.startsWith('wshub/'))
    expect(core.filter(({ to }) => !entries.includes(to))).toEqual([])
  })

  it('never leave the folder by a path', () => {
    const outside = imports.filter(({ from, to }) => {
      if (!to.startsWith('.') && !to.startsWith('/')) return false
      return !join(dirname(from), to).startsWith(folder + sep)
    })
    expect(outside).toEqual([])
  })
})

/** A path relative to `src/`. */
function place(path: string): string {
  return path.replace(/^src\//, '')
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}

function isBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') && builtinModules.includes(specifier.slice('node:'.length))
}

/** The modules of a folder and its subfolders, as paths from the root. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : sources(path)
    return /\.[cm]?[jt]s$/.test(entry.name) ? [path] : []
  })
}

function publicEntries(): string[] {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return Object.keys(exports).map((subpath) => subpath.replace(/^\./, 'wshub'))
}

function parse(file: string): ts.SourceFile {
  const kind = extname(file).endsWith('ts') ? ts.ScriptKind.TS : ts.ScriptKind.JS
  return ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true, kind)
}

function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
}

/**
 * Every import, re-export, `import()`, `import = require()`, `require()` and `import('…')` type with a
 * literal name.
 */
function importsOf(file: string): Import[] {
  const source = parse(file)
  const found: Import[] = []
  const add = (node: ts.Node, specifier: ts.Node | undefined, isTypeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    found.push({ from: file, to: specifier.text, line: lineOf(source, node), isTypeOnly })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      // `import { type A }` is a value import: verbatimModuleSyntax keeps the bare `import`.
      add(node, node.moduleSpecifier, node.importClause?.isTypeOnly ?? false)
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.isTypeOnly)
    } else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
      add(node, node.moduleReference.expression, node.isTypeOnly)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node, node.argument.literal, true)
    } else if (ts.isCallExpression(node)) {
      const { expression } = node
      const isRequire = ts.isIdentifier(expression) && expression.text === 'require'
      if (isRequire || expression.kind === ts.SyntaxKind.ImportKeyword) add(node, node.arguments[0], false)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}
