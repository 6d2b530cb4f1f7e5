import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, extname, join, sep } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { root } from './support.ts'

/** The rooms of `src/`, and the rooms whose files each may import, beside its own. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  hub: ['upgrade', 'cluster', 'cluster/wire', 'connection', 'delivery', 'backplane', 'protocol', 'base'],
  upgrade: ['connection', 'protocol', 'base'],
  cluster: ['cluster/wire', 'backplane', 'protocol', 'base'],
  'cluster/wire': ['protocol', 'base'],
  connection: ['delivery', 'protocol', 'base'],
  delivery: ['protocol', 'base'],
  protocol: ['base'],
  backplane: ['base'],
  base: [],
}

/** The one circle, of types alone: a connection knows its hub. */
const CIRCLE = 'connection/connection.ts -> hub/hub.ts'

/** The packages that the core stands on, beside `node:*`. */
const FOUNDATIONS = ['ws', 'proxy-addr']

/**
 * What an adapter may import beside `node:*`: by value, and as types only (a peer may be missing). What begins with a dot is
 * a part that several adapters share or that one is made of; it is built into each of them.
 */
const ADAPTERS: Readonly<Record<string, { values: readonly string[]; types: readonly string[] }>> = {
  express: { values: ['wshub'], types: [] },
  fastify: { values: ['fastify-plugin', 'wshub'], types: ['fastify'] },
  koa: { values: ['wshub'], types: ['koa'] },
  redis: {
    values: [
      './backoff.ts',
      './backplane-options.ts',
      './channels.ts',
      './redis-shard.ts',
      './redis-topology.ts',
      'redis',
    ],
    types: ['wshub'],
  },
  'redis-shard': {
    values: ['./backoff.ts', './backplane-options.ts', './in-time.ts', './redis-topology.ts'],
    types: ['./channels.ts'],
  },
  'redis-topology': { values: ['./in-time.ts', './opened-sockets.ts'], types: [] },
  'opened-sockets': { values: [], types: [] },
  nats: {
    values: [
      './backoff.ts',
      './backplane-options.ts',
      './channels.ts',
      './in-time.ts',
      './nats-servers.ts',
      './opened-sockets.ts',
      '@nats-io/transport-node',
    ],
    types: ['wshub'],
  },
  'nats-servers': { values: ['./backoff.ts'], types: ['@nats-io/transport-node'] },
  'node-cluster': {
    values: ['./backoff.ts', './backplane-options.ts', './channels.ts', './ipc-outbox.ts'],
    types: ['wshub'],
  },
  'ipc-outbox': { values: ['./backplane-options.ts'], types: [] },
  'backplane-options': { values: ['wshub'], types: [] },
  backoff: { values: [], types: [] },
  channels: { values: [], types: [] },
  'in-time': { values: [], types: [] },
}

/** What the test client may import beside `wshub` and `node:*`. It names no framework: applications are known by their shape. */
const TESTING = ['ws']

/** The order of the files of the test client: each may import those above. */
const TESTING_LEVELS = [
  ['known-keys'],
  ['backplane-contract', 'memory-socket', 'upgrade-refused-error', 'wait'],
  ['client'],
  ['connect'],
  ['index'],
]

interface Import {
  readonly from: string
  readonly to: string
  readonly line: number
  readonly isTypeOnly: boolean
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
  const inside = edges.filter(({ from }) => from.includes('/')) // index.ts and protocol.ts stand before the rooms

  it('are made in a room', () => {
    const rooms = new Set(files.map((file) => dirname(place(file))).filter((room) => room !== '.'))
    expect([...rooms].sort()).toEqual(Object.keys(ROOMS).sort())
  })

  it('name a file, with its extension', () => {
    const found = imports.filter(({ to }) => to.startsWith('.') && !/^\.[a-z./-]+\.ts$/.test(to))
    expect(found).toEqual([])
  })

  it('stay in a room, or lead to one that it may use', () => {
    const against = inside.filter(({ from, to }) => {
      const room = dirname(from)
      return dirname(to) !== room && ROOMS[room]?.includes(dirname(to)) !== true
    })
    const named = unique(against.map(({ from, to }) => `${from} -> ${to}`))
    expect(named).toEqual([CIRCLE])
  })

  it('know the hub from a connection as a type alone', () => {
    expect(inside.filter((edge) => `${edge.from} -> ${edge.to}` === CIRCLE && !edge.isTypeOnly)).toEqual([])
  })

  it('have no cycle by value', () => {
    const values = edges.filter(({ isTypeOnly }) => !isTypeOnly)
    const left = new Set(files.map(place))
    for (;;) {
      const free = [...left].filter((name) => !values.some(({ from, to }) => from === name && left.has(to)))
      if (free.length === 0) break
      for (const name of free) left.delete(name)
    }
    expect([...left]).toEqual([])
  })

  it('reach outside for node:* and the packages of the house alone', () => {
    const foreign = imports.filter(
      ({ to }) => !to.startsWith('.') && !FOUNDATIONS.includes(to) && !isBuiltin(to),
    )
    expect(foreign).toEqual([])
  })
})

describe('the imports of adapters/', () => {
  const files = sources('adapters')

  it('belong to the adapters that are known', () => {
    expect(files.map(nameOf).sort()).toEqual(Object.keys(ADAPTERS).sort())
  })

  it.each(Object.entries(ADAPTERS))(
    'of %s name the core as wshub and what they adapt it to',
    (name, allowed) => {
      const imports = importsOf(`adapters/${name}.ts`).filter(({ to }) => !isBuiltin(to))
      const to = (isTypeOnly: boolean) =>
        unique(imports.filter((edge) => edge.isTypeOnly === isTypeOnly).map((edge) => edge.to))
      expect({ values: to(false), types: to(true) }).toEqual({
        values: [...allowed.values],
        types: [...allowed.types],
      })
    },
  )
})

describe('the imports of testing/', () => {
  const files = sources('testing')
  const imports = files.flatMap(importsOf)

  it('are between files that have a place in the order, and point down', () => {
    expect(files.map(nameOf).sort()).toEqual(TESTING_LEVELS.flat().sort())
    const place = (name: string) => TESTING_LEVELS.findIndex((names) => names.includes(name))
    const edges = imports.filter(({ to }) => to.startsWith('.'))
    expect(edges.filter(({ to }) => !/^\.\/[a-z-]+\.ts$/.test(to))).toEqual([])
    expect(edges.filter(({ from, to }) => place(nameOf(to)) >= place(nameOf(from)))).toEqual([])
  })

  it('name the core as wshub, as types alone, and no framework', () => {
    const outside = imports.filter(({ to }) => !to.startsWith('.') && !isBuiltin(to) && !TESTING.includes(to))
    expect(unique(outside.map(({ to, isTypeOnly }) => (isTypeOnly ? `type ${to}` : to)))).toEqual([
      'type wshub',
    ])
  })
})

describe.each(['src', 'adapters', 'testing'])('the modules of %s/', (folder) => {
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
      sources(folder).filter((file) => !/^([a-z]+(-[a-z]+)*\/)+[a-z]+(-[a-z]+)*\.ts$/.test(file)),
    ).toEqual([])
  })
})

describe.each(['examples', 'bench'])('the imports of %s/', (folder) => {
  const entries = publicEntries()
  const imports = sources(folder).flatMap(importsOf)

  it('are there', () => {
    expect(imports.filter(({ to }) => to.startsWith('wshub'))).not.toEqual([])
  })

  it('name public entry points alone', () => {
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

/** A path of `src/`, from there. */
function place(path: string): string {
  return path.replace(/^src\//, '')
}

function nameOf(path: string): string {
  return path.replace(/^.*\//, '').replace(/\.ts$/, '')
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}

function isBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') && builtinModules.includes(specifier.slice('node:'.length))
}

/** The modules of a folder and of those in it, as paths from the root. */
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

/** Every import, re-export, `import()`, `import = require()`, `require()` and `import('…')` type with a literal name. */
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
