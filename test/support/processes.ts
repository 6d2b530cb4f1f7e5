import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('..', import.meta.url))

/** Signs that a test measures its process, listens to it, or replaces a module. */
const MEASURES = /\bprocess\.(memoryUsage|cpuUsage|resourceUsage|getActiveResourcesInfo|on|once|off)\b/
const LISTENS = /\bprocess, 'emitWarning'|garbage|recordWarnings|stray-errors|support\/thrown/
const REPLACES = /vi\.(mock|stub)/
const OWN = [MEASURES, LISTENS, REPLACES]
/** Tests that replace the clock of their process. */
const SIMULATION = /^simulation\//

/** The tests that only `npm run test:hosts` runs. */
export const HOST_TESTS = 'test/hosts/*.test.ts'
/** The test that only `npm run test:site` runs. */
export const SITE_TEST = 'test/package/site.test.ts'
const APART = /^(hosts\/|package\/site\.)/

/**
 * The files of tests, from the root of the project: those that share processes with each other, which saves
 * half a second of computing each, and those that have a process of their own.
 */
export function testFiles(): { shared: string[]; own: string[] } {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.test.ts') && !APART.test(name))
  const isOwn = (name: string) => {
    const text = readFileSync(join(folder, name), 'utf8')
    return SIMULATION.test(name) || OWN.some((sign) => sign.test(text))
  }
  const path = (name: string) => `test/${name}`
  return {
    shared: names.filter((name) => !isOwn(name)).map(path),
    own: names.filter(isOwn).map(path),
  }
}
