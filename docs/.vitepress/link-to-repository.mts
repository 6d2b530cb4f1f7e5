import type { MarkdownRenderer } from 'vitepress'

/**
 * Lets links that leave `docs`, such as `../SECURITY.md`, lead to the repository: on GitHub they work as they
 * stand, and the site has no such page.
 */
export function linkToRepository(md: MarkdownRenderer, base: string): void {
  md.core.ruler.push('link-to-repository', ({ tokens }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === 'link_open' ? token.attrGet('href') : null
      if (href?.startsWith('../')) token.attrSet('href', base + href.slice('../'.length))
    }
  })
}
