// The `version` step of npm, after the new version is in package.json and before the commit: npm run release
// -- minor.
import { readFileSync, writeFileSync } from 'node:fs'

const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
const changelog = readFileSync('CHANGELOG.md', 'utf8')

if (JSON.stringify(manifest).includes('OWNER')) {
  throw new Error('package.json still has OWNER in the place of the owner of the repository')
}
const [, changes = ''] = changelog.split(/^## .*$/m) // the text below the first heading
if (!/^## Unreleased$/m.test(changelog) || changes.trim() === '')
  throw new Error('CHANGELOG.md has nothing under "## Unreleased"')

const date = new Date().toISOString().slice(0, 10)
writeFileSync(
  'CHANGELOG.md',
  changelog.replace(/^## Unreleased$/m, () => `## Unreleased\n\n## ${manifest.version} (${date})`),
)
