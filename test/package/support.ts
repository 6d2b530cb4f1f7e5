import { execFile } from 'node:child_process'
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
      reject(new Error(`${[file, ...args].join(' ')} ${end}\n${stdout}\n${stderr}`, { cause: error }))
    })
  })
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

/** The names that a module exports as types: interfaces, aliases and classes, sorted. */
export function typeExports(files: readonly string[], options: ts.CompilerOptions): string[][] {
  const program = ts.createProgram([...files], options)
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
  'wshub/redis': 'adapters/redis/redis.ts',
  'wshub/nats': 'adapters/nats/nats.ts',
  'wshub/node-cluster': 'adapters/node-cluster/node-cluster.ts',
  'wshub/client': 'client/client.ts',
  'wshub/testing': 'testing/index.ts',
  'wshub/testing/history': 'testing/history/history-contract.ts',
  'wshub/testing/backplane': 'testing/backplane/backplane-contract.ts',
} as const
