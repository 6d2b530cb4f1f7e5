import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { WAIT_MS } from '../support/in-time.ts'

/** The checkout. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The variables that npm sets for scripts about their package; a nested npm works on another package. */
const OUTER_NPM =
  /^(npm_package_|npm_lifecycle_|npm_command$|npm_config_(local_prefix|dry_run|json)$|INIT_CWD$)/

/**
 * Runs a program to its end.
 * @returns its standard output
 * @throws with everything it printed, if it fails or is too late
 */
export function run(
  file: string,
  args: readonly string[],
  { cwd, withinMs = WAIT_MS }: { cwd: string; withinMs?: number },
): Promise<string> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OUTER_NPM.test(name)))
  const options = { cwd, env, timeout: withinMs, killSignal: 'SIGKILL', maxBuffer: 2 ** 26 } as const
  return new Promise((resolve, reject) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const end = error.killed ? `is not done after ${withinMs} ms` : `ended with ${error.code}`
      const cause = Object.assign(error, { stdout })
      reject(new Error(`${[file, ...args].join(' ')} ${end}\n${stdout}\n${stderr}`, { cause }))
    })
  })
}

/** The compiler that `npm install typescript` gives, which computes a sixth of what 5.9 does. */
export const TSC = join(root, 'node_modules/typescript7/bin/tsc')

/** With several threads it computes 30 to 60 % more, since each checks the types of packages by itself. */
const FLAGS = ['--noEmit', '--pretty', 'false', '--singleThreaded']

/** Returns what the compiler prints for a project or for files: nothing if it finds no error. */
export async function typeErrors(args: readonly string[], cwd: string): Promise<string> {
  try {
    return await run(process.execPath, [TSC, ...FLAGS, ...args], { cwd })
  } catch (error) {
    const { code, stdout = '' } = (error as { cause: { code?: unknown; stdout?: string } }).cause // of execFile
    if (code === 1 || code === 2) return stdout // it has found errors
    throw error
  }
}

/**
 * Returns the same for modules of the checkout with these paths, which are written for as long as it takes.
 * @param compilerOptions other than those of the checkout
 */
export async function typeErrorsIn(
  files: ReadonlyMap<string, string>,
  compilerOptions: Readonly<Record<string, unknown>>,
): Promise<string> {
  const cache = join(root, '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'types-'))
  try {
    for (const [path, text] of files) {
      mkdirSync(join(folder, dirname(path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['**/*'] }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
    return await typeErrors(['-p', folder], folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The compiler options of the checkout, for programs built in a test. */
export function compilerOptions(): ts.CompilerOptions {
  const file = `${root}tsconfig.json`
  const { config, error } = ts.readConfigFile(file, ts.sys.readFile)
  if (error !== undefined) throw new Error(formatDiagnostics([error]))
  return ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, root).options
}

/** Diagnostics as `tsc` prints them; empty when there are none. */
export function formatDiagnostics(diagnostics: readonly ts.Diagnostic[]): string {
  return ts.formatDiagnostics(diagnostics, {
    getCurrentDirectory: () => root,
    getCanonicalFileName: (name) => name,
    getNewLine: () => '\n',
  })
}

/** Returns the program of modules and what they import from this package; no other package is read. */
export function ownProgram(files: readonly string[], compiler: ts.CompilerOptions): ts.Program {
  const options = { ...compiler, noLib: true, types: [] }
  const host = ts.createCompilerHost(options)
  host.resolveModuleNameLiterals = (names, file, redirected, _options, source) =>
    names.map((name) => {
      if (!/^\.|^wshub\b/.test(name.text)) return { resolvedModule: undefined }
      const mode = ts.getModeForUsageLocation(source, name, options)
      return ts.resolveModuleName(name.text, file, options, host, undefined, redirected, mode)
    })
  return ts.createProgram([...files], options, host)
}

/**
 * The names that a module exports as types: interfaces, aliases and classes, sorted. Those of other packages
 * are not exported again.
 */
export function typeExports(files: readonly string[], compiler: ts.CompilerOptions): string[][] {
  const program = ownProgram(files, compiler)
  const checker = program.getTypeChecker()
  return files.map((file) => {
    const source = program.getSourceFile(file)
    const module = source && checker.getSymbolAtLocation(source)
    if (module === undefined) throw new Error(`${file} is not a module`)
    return checker
      .getExportsOfModule(module)
      .filter((symbol) => {
        const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
        const target = isAlias ? checker.getAliasedSymbol(symbol) : symbol
        return (target.flags & ts.SymbolFlags.Type) !== 0
      })
      .map((symbol) => symbol.name)
      .sort()
  })
}

/** Each entry of the package, by its import name, and its source. */
export const ENTRIES = {
  wshub: 'src/index.ts',
  'wshub/protocol': 'src/protocol.ts',
  'wshub/fastify': 'adapters/fastify.ts',
  'wshub/express': 'adapters/express.ts',
  'wshub/koa': 'adapters/koa.ts',
  'wshub/hono': 'adapters/hono.ts',
  'wshub/h3': 'adapters/h3.ts',
  'wshub/nest': 'adapters/nest/nest.ts',
  'wshub/redis': 'adapters/redis/redis.ts',
  'wshub/nats': 'adapters/nats/nats.ts',
  'wshub/node-cluster': 'adapters/node-cluster/node-cluster.ts',
  'wshub/prometheus': 'adapters/prometheus/prometheus.ts',
  'wshub/opentelemetry': 'adapters/opentelemetry/opentelemetry.ts',
  'wshub/log': 'adapters/log/log.ts',
  'wshub/inspector': 'adapters/inspector/inspector.ts',
  'wshub/client': 'client/client.ts',
  'wshub/testing': 'testing/index.ts',
  'wshub/testing/history': 'testing/history/history-contract.ts',
  'wshub/testing/backplane': 'testing/backplane/backplane-contract.ts',
} as const
