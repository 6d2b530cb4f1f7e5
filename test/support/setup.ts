import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Finds Chromium for the page tests, or installs Debian's where that is possible; otherwise the run fails here. */
export default function setup(): void {
  const given = process.env.CHROMIUM_PATH
  process.env.CHROMIUM_PATH = given ?? find() ?? install()
}

function find(): string | undefined {
  return CANDIDATES.find((path) => existsSync(path))
}

function install(): string {
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore' })
    execFileSync('apt-get', ['install', '-y', '-qq', 'chromium'], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    const path = find()
    if (path !== undefined) return path
  }
  throw new Error(
    'The page tests need Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM_PATH.',
  )
}
