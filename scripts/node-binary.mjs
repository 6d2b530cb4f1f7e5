// node scripts/node-binary.mjs 22: prints the path of a Node of that major version, downloaded from npm into
// .cache if it is missing.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const INSTALL_MS = 300_000

const isWindows = process.platform === 'win32'
const platform = `node-${isWindows ? 'win' : process.platform}-${process.arch}`

/** The folder of that major version. */
export function folderOf(major) {
  return fileURLToPath(new URL(`../.cache/node-${major}`, import.meta.url))
}

/** The path of a Node of that major version. */
export function nodeBinary(major) {
  const prefix = folderOf(major)
  const node = join(prefix, 'node_modules', platform, 'bin', isWindows ? 'node.exe' : 'node')
  if (existsSync(node)) return node
  mkdirSync(prefix, { recursive: true })
  execFileSync(
    isWindows ? 'npm.cmd' : 'npm',
    // Installs the platform's package itself: `node` only selects it, in a script that npm may not be allowed
    // to run.
    [
      'install',
      '--prefix',
      prefix,
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      `${platform}@${major}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], timeout: INSTALL_MS, shell: isWindows },
  )
  return node
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(nodeBinary(process.argv[2]))
