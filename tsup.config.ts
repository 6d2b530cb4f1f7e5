import { readFileSync, rmSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'

rmSync('dist', { recursive: true, force: true }) // not `clean`: the two builds run at once

const shared = { target: 'node20', splitting: false } satisfies Options

const all: Options = {
  ...shared,
  entry: {
    index: 'src/index.ts',
    protocol: 'src/protocol.ts',
    fastify: 'adapters/fastify.ts',
    express: 'adapters/express.ts',
    koa: 'adapters/koa.ts',
    hono: 'adapters/hono.ts',
    h3: 'adapters/h3.ts',
    nest: 'adapters/nest/nest.ts',
    redis: 'adapters/redis/redis.ts',
    nats: 'adapters/nats/nats.ts',
    'node-cluster': 'adapters/node-cluster/node-cluster.ts',
    prometheus: 'adapters/prometheus/prometheus.ts',
    opentelemetry: 'adapters/opentelemetry/opentelemetry.ts',
    log: 'adapters/log/log.ts',
    inspector: 'adapters/inspector/inspector.ts',
    client: 'client/client.ts',
    testing: 'testing/index.ts',
    'testing/history': 'testing/history/history-contract.ts',
    'testing/backplane': 'testing/backplane/backplane-contract.ts',
  },
  format: ['esm', 'cjs'],
  // Adapters import the core by the package's own name: left external, both
  // builds have one copy of the core, whichever adapter asks for it.
  external: ['wshub'],
}

/** Bun replaces the package `ws` by its own, which loses messages, so it gets the core with `ws` inside. */
const bun: Options = {
  ...shared,
  entry: { bun: 'src/index.ts' },
  format: ['esm'],
  noExternal: ['ws'],
  banner: { js: `/*\nContains ws. ${readFileSync('node_modules/ws/LICENSE', 'utf8')}*/` },
}

export default defineConfig([all, bun])
