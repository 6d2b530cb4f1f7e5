// npm run docs: builds the site into docs/.vitepress/dist, and fails on a broken link.
// npm run docs:serve: builds it and serves it on http://localhost:4173.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Application, ReflectionKind } from 'typedoc'
import ts from 'typescript'
import { build, serve } from 'vitepress'

const root = fileURLToPath(new URL('../', import.meta.url))
const docs = join(root, 'docs')
const { values } = parseArgs({ options: { serve: { type: 'boolean' }, out: { type: 'string' } } })

await writeApi(join(docs, 'api'))
await build(docs, values.out === undefined ? {} : { outDir: values.out })
if (values.serve) {
  const { port = 4173 } = await serve({ root: docs, port: 4173 })
  console.log(`Serving on http://localhost:${port}`)
}

/** Writes the API reference into `folder`: a page for each export of each entry, from its docstrings. */
async function writeApi(folder) {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const sources = Object.entries(config.compilerOptions.paths).map(([entry, [file]]) => [
    entry,
    join(root, file),
  ])
  const app = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    name: 'API reference',
    tsconfig: join(docs, 'tsconfig.json'),
    entryPoints: sources.map(([, file]) => file),
    out: folder,
    readme: 'none',
    sortEntryPoints: false,
    githubPages: false,
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    skipErrorChecking: true, // `npm run types` checks, and this is faster
    treatWarningsAsErrors: true,
    validation: { notExported: false, invalidLink: true },
    logLevel: 'Warn',
    // A class that extends one of Node's has its docstrings, too, with links to symbols that are not here.
    externalSymbolLinkMappings: { '@types/node': { '*': '#' } },
    // The defaults are for GitHub; these are for VitePress.
    entryFileName: 'index.md',
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useHTMLEncodedBrackets: true,
    sanitizeComments: true,
    useCodeBlocks: true,
    parametersFormat: 'table',
  })
  const project = await app.convert()
  if (project === undefined) throw new Error('TypeDoc cannot read the entries: see above')
  // A module is named as it is imported, not after its file.
  for (const module of project.getChildrenByKind(ReflectionKind.Module)) {
    const file = project.getSymbolIdFromReflection(module)?.fileName
    module.name = sources.find(([, source]) => source === file)?.[0] ?? module.name
  }
  app.validate(project)
  rmSync(folder, { recursive: true, force: true })
  await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings()) {
    throw new Error('TypeDoc has found mistakes: see above')
  }
}
