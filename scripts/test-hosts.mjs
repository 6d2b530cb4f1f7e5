// npm run test:hosts [-- vitest arguments…]: builds the package, installs the hosts of test/hosts/packages
// into .cache/hosts unless they are there, and runs the tests of test/hosts.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, '.cache/hosts')
const installed = join(folder, 'node_modules')
const FILES = ['package.json', 'package-lock.json']

if (!isInstalled()) {
  rmSync(installed, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const file of FILES) cpSync(join(root, 'test/hosts/packages', file), join(folder, file))
  run('npm', ['ci', '--no-audit', '--no-fund'], folder)
  // The pages import the package by its name, as an application does.
  symlinkSync(root, join(installed, 'wshub'), 'junction')
}
run('npm', ['run', '--silent', 'build'], root)
const vitest = join(root, 'node_modules/vitest/vitest.mjs')
const config = ['--config', 'vitest.hosts.config.ts']
run(process.execPath, [vitest, 'run', ...config, ...process.argv.slice(2)], root)

/** Returns whether the last installation was of these files, and was finished. */
function isInstalled() {
  if (!existsSync(join(installed, 'wshub'))) return false
  const [wanted, found] = [join(root, 'test/hosts/packages'), folder].map((path) =>
    FILES.map((file) => readFileSync(join(path, file), 'utf8')).join(),
  )
  return wanted === found
}

/** Runs a program to its end, and ends with it if it fails. */
function run(command, args, cwd) {
  const isScript = command === 'npm' && process.platform === 'win32'
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit', shell: isScript })
  if (status !== 0) process.exit(status ?? 1)
}
