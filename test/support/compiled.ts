import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
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
 * @returns the path of that file
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
  const path = join(
    folder,
    relative(root, file)
      .replaceAll(/[\\/]/g, '-')
      .replace(/\.[cm]?[jt]s$/, '.mjs'),
  )
  mkdirSync(folder, { recursive: true })
  // Other processes of the tests may be writing, or reading, the same file.
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, outputFiles[0]?.contents ?? '')
  renameSync(draft, path)
  compiledFiles.set(file, path)
  return path
}
