import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { root } from '../../package/support.ts'

const path = (file: string) => join(root, file)
const out = path('.cache/runtimes')

/** Keeps the URL of each source, by which it finds its neighbours: in a bundle, all would have the same. */
const ownUrls: Plugin = {
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
      const url = JSON.stringify(pathToFileURL(file).href)
      return { contents: readFileSync(file, 'utf8').replaceAll('import.meta.url', url), loader: 'ts' }
    })
  },
}

/**
 * Bundles files of tests, with the sources of the package, and the runner.
 * `ws` is inside, as in the entry for Bun.
 * @returns the paths of the bundles: the runner's first
 */
export async function bundle(files: readonly string[]): Promise<string[]> {
  const entries = ['test/hosts/runtime/run-suite.ts', ...files]
  await build({
    entryPoints: entries.map(path),
    outdir: out,
    outbase: root,
    outExtension: { '.js': '.mjs' },
    absWorkingDir: root,
    tsconfig: path('tsconfig.json'), // it maps the names of the package to its sources
    bundle: true,
    packages: 'external',
    alias: {
      vitest: path('test/hosts/runtime/suite-api.ts'),
      ws: path('node_modules/ws/wrapper.mjs'),
    },
    platform: 'node',
    format: 'esm',
    target: 'node20',
    banner: { js: REQUIRE },
    logLevel: 'error',
    plugins: [ownUrls],
  })
  return entries.map((file) => join(out, file.replace(/ts$/, 'mjs')))
}

/** `ws` is CommonJS, and Deno has no `require` in an ES module. */
const REQUIRE =
  "import { createRequire as ofBundle } from 'node:module'; globalThis.require ??= ofBundle(import.meta.url)"
