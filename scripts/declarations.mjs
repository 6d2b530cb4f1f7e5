// node scripts/declarations.mjs: writes the type declarations of the package to dist/types, once for ES
// modules (.d.ts) and once for CommonJS (.d.cts). They stay in separate files, like the sources, since
// bundling declarations takes a minute.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = join(root, 'dist/types')
const FORMATS = [
  { declarations: '.d.ts', modules: '.js' },
  { declarations: '.d.cts', modules: '.cjs' },
]

/** @type {Map<string, string>} the declarations of a module, by its path without an extension */
const emitted = new Map()
const entries = readEntries()
const program = ts.createProgram(
  entries.map((entry) => `${join(root, entry)}.ts`),
  {
    ...compilerOptions(),
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    noCheck: true, // `npm run types` does
    stripInternal: true,
    rootDir: root,
    outDir: out,
  },
)
const { diagnostics, emitSkipped } = program.emit(undefined, (path, text) => {
  emitted.set(
    relative(out, path)
      .replaceAll('\\', '/')
      .replace(/\.d\.ts$/, ''),
    // A class with private members equals no other class: in a program of both formats, .d.ts and .d.cts
    // would contradict each other about the `hub` that they add to the types of the frameworks.
    text.replaceAll(/^ *#private;\n/gm, ''),
  )
})
if (emitSkipped || diagnostics.length > 0) fail(diagnostics)

rmSync(out, { recursive: true, force: true })
for (const [name, text] of reached()) {
  for (const format of FORMATS) {
    const file = join(out, name + format.declarations)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, rename(text, format.modules))
  }
}

/** The sources of the package's `exports`, without their extension. */
function readEntries() {
  const { exports } = JSON.parse(ts.sys.readFile(join(root, 'package.json')) ?? '')
  return Object.values(exports).flatMap((target) => {
    const types = target.import?.types
    return types === undefined ? [] : [types.replace('./dist/types/', '').replace(/\.d\.ts$/, '')]
  })
}

function compilerOptions() {
  const { config, error } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  if (error !== undefined) fail([error])
  return ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, root).options
}

/** The modules that an entry needs; modules that only the implementation needs are not published. */
function reached() {
  const names = new Set(entries)
  for (const name of names) {
    for (const { fileName } of relativeImports(textOf(name))) {
      names.add(
        relative(root, resolve(root, dirname(name), fileName))
          .replaceAll('\\', '/')
          .replace(/\.ts$/, ''),
      )
    }
  }
  return [...names].map((name) => [name, textOf(name)])
}

function textOf(name) {
  const text = emitted.get(name)
  if (text === undefined) throw new Error(`no declarations of ${name}`)
  return text
}

/** Adds the extension of the modules to relative imports, which name sources. */
function rename(text, extension) {
  let renamed = text
  for (const { fileName, pos } of relativeImports(text).reverse()) {
    const start = renamed.indexOf(fileName, pos)
    const end = start + fileName.length
    renamed = renamed.slice(0, start) + fileName.replace(/\.ts$/, extension) + renamed.slice(end)
  }
  return renamed
}

function relativeImports(text) {
  return ts.preProcessFile(text, true, false).importedFiles.filter(({ fileName }) => fileName.startsWith('.'))
}

function fail(diagnostics) {
  console.error(
    ts.formatDiagnostics(diagnostics, {
      getCurrentDirectory: () => root,
      getCanonicalFileName: (name) => name,
      getNewLine: () => '\n',
    }),
  )
  process.exit(1)
}
