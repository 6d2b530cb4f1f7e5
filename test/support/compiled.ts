import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the project, where programs find its packages. */
const folder = join(root, '.cache/programs')
const compiledFiles = new Map<string, string>()

const TSCONFIG = join(root, 'tsconfig.json') // it maps the names of the package to its sources

/**
 * Compiles a program in TypeScript, with the sources that it imports, to one file of JavaScript. With `tsx`,
 * which compiles modules while they are loaded, each start takes half a second more of computing.
 * @param tsconfig extends that of the checkout
 * @returns the path of that file, which has the pages of its folder next to it
 */
export function compiled(file: string, tsconfig = TSCONFIG): string {
  const known = compiledFiles.get(file)
  if (known !== undefined) return known
  const { outputFiles } = buildSync({
    entryPoints: [file],
    write: false,
    absWorkingDir: root,
    tsconfig,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'error',
  })
  const path = join(folder, relative(root, file).replace(/\.[cm]?[jt]s$/, '.mjs'))
  replace(path, outputFiles[0]?.contents ?? '')
  for (const name of readdirSync(dirname(file)).filter((name) => name.endsWith('.html'))) {
    replace(join(dirname(path), name), readFileSync(join(dirname(file), name))) // the program may read it
  }
  compiledFiles.set(file, path)
  return path
}

/** Writes a file that other processes of the tests may be writing, or reading. */
function replace(path: string, contents: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, contents)
  renameSync(draft, path)
}
