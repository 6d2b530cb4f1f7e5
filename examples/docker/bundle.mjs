// node examples/docker/bundle.mjs <folder>
//
// Writes the chat with all its packages into one file, and its page beside it.

import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('node examples/docker/bundle.mjs <folder>')

await build({
  entryPoints: [`${root}examples/docker/server.ts`],
  outfile: `${folder}/server.mjs`,
  absWorkingDir: root,
  tsconfig: `${root}tsconfig.json`, // it maps the names of the package to its sources
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  sourcesContent: false,
  logLevel: 'error',
  // Some packages are CommonJS, and call `require`.
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
})
copyFileSync(`${root}examples/chat/page.html`, `${folder}/page.html`)
