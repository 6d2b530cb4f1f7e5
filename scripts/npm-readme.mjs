// Before npm packs: makes the links of README.md absolute, because npm shows it without the files beside it.
// They lead to the site, or to the tag of this version. `restore`, after npm has packed: restores the README.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

const KEPT = '.cache/README.md'

if (existsSync(KEPT)) renameSync(KEPT, 'README.md') // also from an interrupted run
if (process.argv[2] !== 'restore') {
  const { homepage, repository, version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const files = repository.url.replace(/^git\+|\.git$/g, '')
  mkdirSync('.cache', { recursive: true })
  copyFileSync('README.md', KEPT)
  const text = readFileSync('README.md', 'utf8')
  const absolute = (link) => {
    if (/^([a-z]+:|#)/.test(link)) return link
    const [, page, anchor = ''] = /^docs\/([\w/-]+?)(?:\bindex)?\.md(#.*)?$/.exec(link) ?? []
    if (page !== undefined) return homepage + page + anchor
    return `${files}/${/\.(png|svg)$/.test(link) ? 'raw' : 'blob'}/v${version}/${link}`
  }
  writeFileSync(
    'README.md',
    text.replaceAll(/(\]\()([^()\s]+)(?=\))/g, (_, start, link) => start + absolute(link)),
  )
}
