import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './support.ts'

/** The files that the build reads. */
const INPUTS = [
  'src',
  'adapters',
  'testing',
  'package.json',
  'tsconfig.json',
  'tsup.config.ts',
  'scripts/declarations.mjs',
]

/**
 * Builds `dist` if the sources are newer. `npm test` has built it once for the whole run; a test that runs
 * alone may be the first.
 */
export async function build(): Promise<void> {
  const newest = Math.max(...INPUTS.flatMap(changes))
  if (Math.min(...changes('dist')) > newest) return
  await run('npm', ['run', 'build'], { cwd: root })
}

/** Returns when the newest file at or below a path was written; 0 if there is none. */
function changes(path: string): number[] {
  const absolute = join(root, path)
  const stat = statSync(absolute, { throwIfNoEntry: false })
  if (stat === undefined) return [0]
  if (!stat.isDirectory()) return [stat.mtimeMs]
  const files = readdirSync(absolute, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  return files.length === 0 ? [0] : files.map((file) => statSync(join(file.parentPath, file.name)).mtimeMs)
}
