import { execFileSync, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BUILTIN_WEBSOCKET, TOOLS, type Tool, type ToolName, variableOf } from './tools.ts'

const INSTALL_MS = 300_000
/** The file that Debian reads before it starts the service of a package. */
const POLICY = '/usr/sbin/policy-rc.d'

/** Finds the programs that tests run, or installs Debian's if possible; otherwise the run fails here. */
export default function setup(): void {
  const missing = namesOf(TOOLS).filter((name) => !isFound(name))
  if (missing.length > 0 && canInstall()) install(missing)
  const lacking = missing.filter((name) => !isFound(name))
  if (lacking.length > 0) {
    const packages = lacking.map((name) => TOOLS[name].package).join(' ')
    const variables = lacking.map(variableOf).join(', ')
    throw new Error(`The tests need more: apt-get install ${packages} (Debian), or set ${variables}.`)
  }
  findNode()
}

/** Passes the path of a tool to the tests, if it exists. */
function isFound(name: ToolName): boolean {
  const path = process.env[variableOf(name)] ?? find(name)
  if (path === undefined) return false
  process.env[variableOf(name)] = path
  return true
}

function find(name: ToolName): string | undefined {
  const { names, probe }: Tool = TOOLS[name]
  // Debian's own first; /usr/sbin is only on root's PATH.
  const folders = ['/usr/bin', '/usr/sbin', ...(process.env.PATH ?? '').split(delimiter)]
  return names
    .flatMap((file) => folders.map((folder) => join(folder, file)))
    .find((path) => isExecutable(path) && (probe === undefined || spawnSync(path, probe).status === 0))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
}

function install(names: readonly ToolName[]): void {
  const packages = names.map((name) => TOOLS[name].package)
  // Debian starts a service after installing it, and we do not own ports 80 and 443. A policy that already
  // exists belongs to the machine.
  const isOurs = !existsSync(POLICY)
  if (isOurs) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    aptGet('update')
    aptGet('install', '-y', '--no-install-recommends', ...packages)
  } finally {
    if (isOurs) rmSync(POLICY)
  }
  // Nor may a test make a service start at the next boot.
  const services = names.flatMap((name) => {
    const { service }: Tool = TOOLS[name]
    return service ?? []
  })
  if (services.length > 0 && existsSync('/usr/bin/systemctl')) run('systemctl', ['disable', ...services])
}

function aptGet(...args: readonly string[]): void {
  run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=120', ...args])
}

/** Downloads a newer Node from npm, to test the built-in WebSocket on an older Node too. */
function findNode(): void {
  const { major, variable } = BUILTIN_WEBSOCKET
  if ('WebSocket' in globalThis || process.env[variable] !== undefined) return
  const script = fileURLToPath(new URL('../../scripts/node-binary.mjs', import.meta.url))
  process.env[variable] = run(process.execPath, [script, major]).trim()
}

/** @throws with its whole output if it fails */
function run(file: string, args: readonly string[]): string {
  return execFileSync(file, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: INSTALL_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}

function namesOf(tools: typeof TOOLS): ToolName[] {
  return Object.keys(tools) as ToolName[] // Object.keys forgets the key type
}
