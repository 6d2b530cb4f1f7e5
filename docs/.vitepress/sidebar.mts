import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DefaultTheme } from 'vitepress'

const docs = fileURLToPath(new URL('../', import.meta.url))

/** The pages in the order in which a newcomer needs them. */
const GUIDE = {
  Start: [
    'getting-started',
    'upgrades',
    'handlers',
    'rooms',
    'continuity',
    'presence',
    'client',
    'slow-clients',
    'libraries',
    'testing',
  ],
  Reference: ['options', 'errors'],
  Run: [
    'deploying',
    'proxies',
    'http2',
    'observability',
    'metrics',
    'inspector',
    'operating',
    'cluster',
    'other-languages',
    'scaling',
  ],
  Hosts: [
    'hosts/index',
    'hosts/hono',
    'hosts/h3',
    'hosts/nest',
    'hosts/next',
    'hosts/hapi',
    'hosts/vite',
    'hosts/bun',
    'hosts/deno',
  ],
  Migrate: ['migrating-from-socket-io', 'migrating-from-express-ws', 'migrating-from-fastify-websocket'],
  Inside: ['architecture', 'benchmarks'],
}

export const guideSidebar: DefaultTheme.SidebarItem[] = Object.entries(GUIDE).map(([text, pages]) => ({
  text,
  items: pages.map((page) => ({ text: titleOf(`${page}.md`), link: `/${page.replace(/index$/, '')}` })),
}))

/** Returns an entry for each module of the API reference, with its exports below it. */
export function apiSidebar(): DefaultTheme.SidebarItem[] {
  return [...readFileSync(join(docs, 'api/index.md'), 'utf8').matchAll(/\]\((.+)\/index\.md\)/g)].map(
    ([, module = '']) => ({
      text: module,
      link: `/api/${module}/`,
      collapsed: module !== 'wshub',
      items: exportsOf(`api/${module}`),
    }),
  )
}

/** A constant and the type of its values share a name; the page of the constant is listed. */
function exportsOf(folder: string): DefaultTheme.SidebarItem[] {
  const pages = ['type-aliases', 'interfaces', 'variables', 'classes', 'functions']
    .flatMap((kind) => pagesOf(`${folder}/${kind}`))
    .map((path) => [basename(path, '.md'), path.replace(/\.md$/, '')] as const)
  return [...new Map(pages)].sort().map(([text, path]) => ({ text, link: `/${path}` }))
}

function pagesOf(folder: string): string[] {
  try {
    return readdirSync(join(docs, folder)).map((name) => `${folder}/${name}`)
  } catch {
    return [] // the module exports nothing of this kind
  }
}

function titleOf(file: string): string {
  const [, title = file] = /^# (.+)$/m.exec(readFileSync(join(docs, file), 'utf8')) ?? []
  return title
}
