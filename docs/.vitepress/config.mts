import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'
import { githubSlug } from './github-slug.mts'
import { linkToRepository } from './link-to-repository.mts'
import { apiSidebar, guideSidebar } from './sidebar.mts'

const { version, homepage, repository } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)
const repositoryUrl: string = repository.url.replace(/^git\+|\.git$/g, '')

export default defineConfig({
  title: 'wshub',
  description:
    'Rooms, history, presence, limits and clusters for plain WebSockets in Fastify, Express and Koa.',
  lang: 'en',
  base: new URL(homepage).pathname,
  cleanUrls: true,
  // VitePress takes titles from the headings as they stand in Markdown, and escapes them once more.
  transformPageData: ({ title }) => ({ title: title.replaceAll('&lt;', '<').replaceAll('&gt;', '>') }),
  markdown: {
    anchor: { slugify: githubSlug },
    languageAlias: { haproxy: 'nginx', caddyfile: 'nginx' }, // VitePress has no grammar for these
    config: (md) => md.use(linkToRepository, `${repositoryUrl}/blob/main/`),
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: repositoryUrl }],
    nav: [
      { text: 'Guide', link: '/getting-started', activeMatch: '^/(?!api/|$)' },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
      { text: version, link: `${repositoryUrl}/blob/main/CHANGELOG.md` },
    ],
    sidebar: { '/': guideSidebar, '/api/': apiSidebar() },
    footer: { message: 'MIT License' },
  },
})
