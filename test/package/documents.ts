import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './support.ts'

/** Returns the text of a file of the checkout. */
export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** The Markdown documents: at the top of the checkout and in `docs` with its folders. */
export function documents(): string[] {
  return ['.', 'docs', 'docs/hosts'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  )
}

/** The cells of the rows of the one table whose heading has these words, in this order. */
export function tableOf(...headings: readonly string[]): string[][] {
  const text = documents().map(read).join('\n')
  const lines = text.split('\n').map((line) =>
    line.startsWith('|')
      ? line
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim())
      : undefined,
  )
  const isHeading = (cells: readonly string[] | undefined) =>
    headings.every((heading, index) => cells?.[index]?.toLowerCase().startsWith(heading))
  const start = lines.findIndex(isHeading)
  if (start < 0 || lines.slice(start + 1).some(isHeading)) {
    throw new Error(`the documents must have one table of ${headings.join(', ')}`)
  }
  const rows: string[][] = []
  for (const cells of lines.slice(start + 2)) {
    if (cells === undefined) break
    rows.push(cells)
  }
  return rows
}

/** Removes the quotes of code from the text of a cell. */
export function unquote(cell = ''): string {
  return cell.replace(/^`(.*)`$/, '$1')
}
